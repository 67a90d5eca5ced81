"""The wheel: the demo model with every file it needs, and no training code or tests."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

pytest.importorskip("setuptools")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths of the files that setuptools puts into the wheel, read from pyproject.toml."""
    from setuptools.config.pyprojecttoml import apply_configuration
    from setuptools.dist import Distribution

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        distribution = apply_configuration(
            Distribution({"script_name": "setup.py"}), "pyproject.toml"
        )
        distribution.set_defaults()
        # Building the list writes metadata, which must not lie in the source tree.
        distribution.get_command_obj("egg_info").egg_base = str(tmp_path_factory.mktemp("egg"))
        build = distribution.get_command_obj("build_py")
        build.build_lib = "lib"
        build.ensure_finalized()
        return {Path(name).relative_to("lib").as_posix() for name in build.get_outputs(False)}


def test_the_demo_model_is_in_it(wheel: set[str]) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "renderer/demo/model").rglob("*")
        if path.is_file()
    }
    assert any(name.endswith("model.safetensors") for name in files)
    assert files <= wheel


def test_migrations_are_in_it(wheel: set[str]) -> None:
    versions = {path.name for path in (ROOT / "db/migrations/versions").glob("*.py")}
    assert versions
    assert {f"db/migrations/versions/{name}" for name in versions} <= wheel


def test_it_holds_the_layers_and_nothing_else(wheel: set[str]) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(contracts["tool"]["importlinter"]["root_packages"])
    assert {name.partition("/")[0] for name in wheel} == packages - {"training"}
    code = {name for name in wheel if name.startswith("renderer/demo/") and name.endswith(".py")}
    assert code == {"renderer/demo/__init__.py"}
