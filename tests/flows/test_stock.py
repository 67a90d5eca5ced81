"""What is on this machine, as a worker that runs already notices it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.segments.work_kinds import weights_of
from film.families import DEMO
from flows.farm import Farm, open_farm
from flows.model_catalog import inventory
from flows.model_catalog.inventory import Stock
from flows.model_catalog.revisions import pin, revision_of
from renderer.weights import weight_store as weights
from tests.conftest import Installation

OWN = weights_of("demo", weights.bundled_revision(DEMO))


@pytest.fixture
def here(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    """The parts of an installation that nothing runs in; looks follow one another quickly."""
    monkeypatch.setattr(inventory, "LOOK_SECONDS", 0.02)
    farm = open_farm()
    yield farm
    farm.close()


def soon(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def add(farm: Farm, folder: Path) -> str:
    """The demo model's weights in a folder of the user's, known to the farm; in one word."""
    shutil.copytree(weights.folder_of(DEMO, "", folder), folder)
    name = f"demo={folder}"
    revision = revision_of(farm, name)
    with farm.database.write() as connection:
        pin(connection, name, revision)
    return weights_of(name, revision)


def test_weights_that_come_change_and_go_are_noticed(here: Farm, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    told: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    found = Stock(here, None)
    with found.watching(lambda *news: told.append(news)):
        assert found.weights == (OWN,)
        mine = add(here, folder)
        soon(lambda: found.weights == (OWN, mine))
        assert found.models == ("demo", f"demo={folder}")
        (folder / "model_index.json").write_text((folder / "model_index.json").read_text() + "\n")
        soon(lambda: found.weights[1:] not in ((), (mine,)))
        changed = found.weights[1]
        shutil.rmtree(folder)
        soon(lambda: found.weights == (OWN,))
    assert [weights for _, weights in told] == [(OWN, mine), (OWN, changed), (OWN,)]


def test_a_worker_for_certain_models_looks_at_no_others(here: Farm, tmp_path: Path) -> None:
    mine = add(here, tmp_path / "mine")
    assert Stock(here, ["demo"]).weights == (OWN,)
    assert Stock(here, [f"demo={tmp_path / 'mine'}"]).weights == (mine,)
    assert Stock(here, ["mochi"]).weights == ()


def test_large_weights_are_read_beside_the_work(here: Farm, tmp_path: Path) -> None:
    mine = add(here, tmp_path / "mine")
    shutil.rmtree(here.settings.home / "digests")
    assert Stock(here, None).weights == (OWN,)
    found = Stock(here, None)
    with found.watching(lambda *news: None):
        soon(lambda: found.weights == (OWN, mine))
    shutil.rmtree(here.settings.home / "digests")
    assert Stock(here, None, reading=True).weights == (OWN, mine)
