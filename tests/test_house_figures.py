"""`scripts/house_figures.py` on small trees, and its goals on this checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import house_figures

REPO = Path(__file__).parents[1]


def write(root: Path, files: dict[str, str]) -> Path:
    for name in (*house_figures.PRODUCT, *house_figures.OTHERS):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "__init__.py").touch()
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return root


def test_an_import_circle_is_found_and_a_lazy_one_counts_apart(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "film/a.py": "import film.b\n",
            "film/b.py": "import film.a\n",
            "flows/c.py": "from flows import d\n",
            "flows/d.py": "def run():\n    from flows import c\n    return c\n",
        },
    )
    figures = house_figures.measure(root)
    assert figures["import_circles"] == [["film.a", "film.b"]]
    assert figures["import_circles_with_lazy_imports"] == [
        ["film.a", "film.b"],
        ["flows.c", "flows.d"],
    ]


@pytest.mark.parametrize(
    ("importer", "imported", "points_up"),
    [
        ("app", "flows", False),
        ("flows", "app", True),
        ("renderer", "db", True),
        ("film", "media", True),
        ("media", "film", False),
    ],
)
def test_an_import_of_a_higher_or_a_neighbouring_layer_points_up(
    tmp_path: Path, importer: str, imported: str, points_up: bool
) -> None:
    root = write(
        tmp_path,
        {
            f"{importer}/a.py": f"import {imported}.b\n",
            f"{imported}/b.py": "def f() -> None: ...\n",
        },
    )
    arrows = [f"{importer}.a -> {imported}.b"] if points_up else []
    assert house_figures.measure(root)["upward_imports"] == arrows


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("Where none is given, it renders.", ["where"]),
        ("The table where the films are.", ["where"]),
        ("Whether a worker has stopped.", ["subjectless"]),
        ("A worker that is told to stop.", ["tell"]),
        ("Prints `where is it` as it is.", []),
        ("So long that it times out.", []),
        ("Returns the segments of a film.", []),
    ],
)
def test_a_turn_counts_in_docstrings_and_comments(
    tmp_path: Path, text: str, turns: list[str]
) -> None:
    docstring = write(tmp_path / "d", {"film/a.py": f'"""{text}"""\n'})
    comment = write(tmp_path / "c", {"film/a.py": f"# {text}\nvalue = 1\n"})
    for root in (docstring, comment):
        figures = house_figures.measure(root)
        assert [name for name, count in figures["turns"].items() if count] == turns
        assert figures["texts_with_a_turn"] == (1.0 if turns else 0.0)


def test_a_module_that_only_slow_tests_import_has_no_fast_test(tmp_path: Path) -> None:
    code = "def f() -> None: ...\n"
    root = write(
        tmp_path,
        {
            "flows/fast.py": code,
            "flows/slow.py": code,
            "renderer/helped.py": code,
            "tests/helper.py": "import renderer.helped\n",
            "tests/test_fast.py": "import flows.fast\nimport tests.helper\ndef test_it(): ...\n",
            "tests/test_slow.py": (
                "import pytest, flows.slow\n@pytest.mark.slow\ndef test_it(): ...\n"
            ),
        },
    )
    assert house_figures.measure(root)["modules_without_a_fast_test"] == ["flows.slow"]


def test_a_module_that_takes_its_mark_from_another_one_is_slow(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "renderer/slow.py": "def f() -> None: ...\n",
            "tests/test_marks.py": "import pytest\npytestmark = pytest.mark.slow\n",
            "tests/test_slow.py": (
                "import renderer.slow\n"
                "from tests.test_marks import pytestmark\n"
                "def test_it(): ...\n"
            ),
        },
    )
    assert house_figures.measure(root)["modules_without_a_fast_test"] == ["renderer.slow"]


def test_this_checkout_meets_its_goals() -> None:
    assert house_figures.missed_goals(house_figures.measure(REPO)) == []
