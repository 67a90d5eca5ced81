"""A folder that is kept like a campaign."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.actions.folders import Synced, place_in, sync_folder
from app.actions.protocol import Actions
from db.films import user_actions
from film.errors import InputError, ServerAwayError
from flows.farm import Farm
from storage import keys
from tests.actions.test_contract import CONTENT, campaign, deliver
from tests.db.farm import Farm as Rows


@pytest.fixture
def two(actions: Actions) -> str:
    """A campaign of two films; its id."""
    return actions.submit(campaign()).campaign_id


def test_new_films_are_fetched_once_and_nothing_else_changes(
    actions: Actions, two: str, rows: Rows, small_farm: Farm, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    first, second = sync_folder(actions, two, folder)
    assert (first.problem, second.problem) == ("It is queued.", "It is queued.")
    deliver(rows, small_farm)
    (folder / "mine.txt").write_text("mine")
    first, second = sync_folder(actions, two, folder)
    path = Path(first.path)
    assert (first.fetched, first.problem, path.read_bytes()) == (True, None, CONTENT)
    before = path.stat()
    first, _ = sync_folder(actions, two, folder)
    assert (first.fetched, first.problem) == (False, None)
    assert path.stat() == before
    assert {each.name for each in folder.iterdir()} == {path.name, "mine.txt"}


def test_another_file_of_that_name_stays_and_is_named(
    actions: Actions, two: str, rows: Rows, small_farm: Farm, tmp_path: Path
) -> None:
    deliver(rows, small_farm)
    path = tmp_path / actions.deliverables(two)[0].file_name
    for content in (b"mine", b"x" * len(CONTENT)):
        path.write_bytes(content)
        first = sync_folder(actions, two, tmp_path)[0]
        assert "is another file than the film; it stays" in (first.problem or "")
        assert path.read_bytes() == content


def test_a_pattern_names_folders(
    actions: Actions, two: str, rows: Rows, small_farm: Farm, tmp_path: Path
) -> None:
    deliver(rows, small_farm)
    sync_folder(actions, two, tmp_path, "{name}/{number:03} {title}")
    assert (tmp_path / "autumn" / "001 a-red-ball.mp4").read_bytes() == CONTENT
    with pytest.raises(InputError, match="no field"):
        sync_folder(actions, two, tmp_path, "{speed}")


def test_it_continues_while_the_campaign_renders(
    actions: Actions,
    two: str,
    rows: Rows,
    small_farm: Farm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    notes: list[str] = []
    reported: list[Synced] = []
    listing = actions.deliverables

    def deliverables(name: str, pattern: str | None = None) -> list[object]:
        if looks == 1 and "The farm does not answer. It is waited for." not in notes:
            raise ServerAwayError("The farm does not answer.")
        return list(listing(name, pattern))

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            deliver(rows, small_farm)
        if looks == 3:
            rows.write(user_actions.cancel, two)

    monkeypatch.setattr(actions, "deliverables", deliverables)
    found = sync_folder(
        actions,
        two,
        tmp_path,
        follow=True,
        report=reported.append,
        note=notes.append,
        sleep=sleep,
    )
    assert "The farm does not answer. It is waited for." in notes
    assert any("No worker is running" in note for note in notes)
    assert [each.problem for each in found] == [None, "It is cancelled."]
    assert [each.id for each in reported] == [f"{two}-1"]
    assert looks == 3


def test_a_film_that_is_missing_from_the_store_does_not_stop_the_others(
    actions: Actions, two: str, rows: Rows, small_farm: Farm, tmp_path: Path
) -> None:
    deliver(rows, small_farm, b"first")
    deliver(rows, small_farm, b"second")
    for info in list(small_farm.store.list(keys.FILMS))[:1]:
        small_farm.store.delete(info.key)
    found = sync_folder(actions, two, tmp_path)
    assert sorted(each.problem is None for each in found) == [False, True]
    assert len(list(tmp_path.glob("*.mp4"))) == 1


@pytest.mark.parametrize(
    "name", ["../a.mp4", "/etc/a.mp4", "a/../../b.mp4", "", "a//b.mp4", "a\\b.mp4", "a\0b", "./a"]
)
def test_a_name_that_leads_out_of_the_folder_is_not_used(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads out of the folder"):
        place_in(tmp_path, name)


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "away").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link that leads out"):
        place_in(folder, "away/a.mp4")


def test_a_file_in_place_of_the_folder_is_named(actions: Actions, two: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give a folder"):
        sync_folder(actions, two, tmp_path / "file")
