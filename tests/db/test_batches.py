"""Uploaded files, batches, characters, and what films cost, on each kind of database."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from db import batches, characters, files
from db.engine import Database
from db.films import film_lease, removal, user_actions, videos
from db.films.videos import VideoRow
from db.segments import segment_lease
from db.tables import batch_lines
from film.errors import NotFoundError
from tests.db.farm import Farm, a_film, take_of


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def a_batch(farm: Farm, **fields: Any) -> batches.BatchRow:
    """A batch whose lines are being checked."""
    values = {
        "input_file_id": "file-1",
        "endpoint": "/v1/videos",
        "completion_window": "24h",
        "details": {"a": "b"},
        "digest": "ab" * 32,
        "key": None,
    }
    return farm.write(batches.create, **{**values, **fields})  # type: ignore[no-any-return]


def test_files_come_back_by_pages_and_purpose(farm: Farm) -> None:
    rows = [
        farm.write(files.insert, files.new_id(), f"{n}", purpose, 2**40 + n, "ab" * 32)
        for n, purpose in enumerate(("batch", "vision", "batch"))
    ]
    rows.sort(key=lambda row: (row.created_at, row.id))
    (vision,) = (row for row in rows if row.purpose == "vision")
    assert farm.read(files.get, rows[0].id) == rows[0]
    assert farm.read(files.find, limit=2) == rows[:0:-1]
    assert farm.read(files.find, after=rows[1].id, limit=2) == rows[:1]
    assert farm.read(files.find, ascending=True, after=rows[0].id, limit=9) == rows[1:]
    assert farm.read(files.find, purpose="vision", limit=9) == [vision]
    assert farm.read(files.existing, {rows[0].id, "file-none"}) == {rows[0].id}
    farm.write(files.delete, rows[0].id)
    for call in (files.get, files.delete):
        with pytest.raises(NotFoundError, match="There is no file"):
            farm.write(call, rows[0].id)


def test_a_batch_is_started_failed_or_cancelled_once(farm: Farm) -> None:
    started, failed, cancelled = (a_batch(farm) for _ in range(3))
    assert farm.write(batches.start, started, "c1", 2)
    reason = {"code": "invalid_value", "line": 1, "message": "no", "param": None}
    assert farm.write(batches.fail, failed, [reason])
    farm.write(batches.cancel, cancelled.id)
    for batch in (started, failed, cancelled):
        assert not farm.write(batches.start, batch, "c2", 3)
        assert not farm.write(batches.fail, batch, [])
    found = [farm.read(batches.get, batch.id) for batch in (started, failed, cancelled)]
    assert [(row.campaign_id, row.total, row.errors) for row in found] == [
        *(("c1", 2, []), (None, 0, [reason]), (None, 0, [])),
    ]
    assert [row.cancelled_at is None for row in found] == [True, True, False]
    farm.write(batches.cancel, failed.id)
    assert farm.read(batches.get, failed.id).cancelled_at is None


def test_of_two_that_start_and_cancel_a_batch_at_once_one_succeeds(farm: Farm) -> None:
    batch = a_batch(farm)
    outcomes: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda name=name: outcomes.append(farm.write(batches.start, batch, name, 1))
        )
        for name in ("c1", "c2", "c3", "c4")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]


def test_batches_come_back_by_pages_and_by_their_request(farm: Farm) -> None:
    first = a_batch(farm)
    second = a_batch(farm, key="k", digest="cd" * 32)
    older, newer = sorted((first, second), key=lambda row: (row.created_at, row.id))
    assert farm.read(batches.find, None, 1) == [newer]
    assert farm.read(batches.find, newer.id, 9) == [older]
    assert farm.read(batches.repeated, "k", "", 60.0) == (second, "cd" * 32)
    assert farm.read(batches.repeated, None, "ab" * 32, 60.0) == (first, "ab" * 32)
    assert farm.read(batches.repeated, "other", "ab" * 32, 60.0) is None
    assert farm.read(batches.repeated, "k", "", -60.0) is None


def test_a_batch_is_leased_to_one_process_at_a_time(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = a_batch(farm)
    assert farm.read(batches.is_due)
    first = farm.write(batches.claim)
    assert (first.id, first.attempts) == (made.id, 1)
    assert not farm.read(batches.is_due)
    assert farm.write(batches.claim) is None
    assert farm.write(batches.beat, first)
    monkeypatch.setattr(batches, "LEASE_SECONDS", -1.0)
    assert farm.write(batches.beat, first)
    second = farm.write(batches.claim)
    assert second.attempts == 2
    for late in (batches.beat, batches.put_back):
        assert not farm.write(late, first)
    assert not farm.write(batches.fail, first, [])
    assert farm.write(batches.put_back, second)
    third = farm.write(batches.claim)
    assert (third.attempts, third.put_back) == (3, 1)
    assert not farm.write(batches.beat, second)
    assert farm.write(batches.start, third, "c1", 1)
    assert not farm.read(batches.is_due)


def test_a_tally_counts_films_by_their_ends(farm: Farm) -> None:
    ids = farm.submit(a_film(tag="a"), a_film(tag="b"), a_film(tag="c"))
    campaign = ids[0].rpartition("-")[0]
    farm.render_all()
    farm.deliver()
    farm.write(film_lease.fail, farm.claim_film(), "no")
    (tally,) = farm.read(batches.tallies, [campaign, "none"]).values()
    assert (tally.films, tally.delivered, tally.failed) == (3, 1, 1)
    assert tally.finished_at is not None
    farm.write(user_actions.cancel, campaign)
    assert farm.read(batches.tallies, [campaign])[campaign].failed == 2


def test_names_of_lines_go_with_their_films(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    farm.write(batches.insert_lines, {film: "line 1"})
    assert farm.read(batches.custom_ids, [film, "none"]) == {film: "line 1"}
    farm.write(user_actions.cancel, film)
    farm.write(removal.remove, film)
    assert farm.read(lambda connection: connection.execute(sa.select(batch_lines)).all()) == []


def test_requests_of_many_films_are_added_at_once(farm: Farm) -> None:
    ids = farm.submit(*(a_film(segments_each=1, tag=f"{n}") for n in range(3)))
    rows = [
        VideoRow(film_id=film, model="demo", prompt=film, made_from=None, digest="d", key=None)
        for film in ids
    ]
    farm.write(videos.insert, rows)
    assert farm.read(videos.get, ids) == dict(zip(ids, rows, strict=True))


def test_a_film_costs_what_was_rendered_for_it(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=2))
    peaks = iter(({"peak_gpu_memory_bytes": 3 * 2**40, "peak_memory_bytes": 1}, {}))
    while lease := farm.try_claim():
        take = take_of(farm.row(lease).address)
        take = take.replace(made_by={**take.made_by, **next(peaks)})
        assert farm.write(segment_lease.finish, lease, take)
    (again,) = farm.submit(a_film(segments_each=2))
    cost = farm.read(videos.costs, [film, again])
    assert set(cost) == {film}
    assert cost[film].seconds == pytest.approx(3.0)
    assert cost[film].peak_bytes == 3 * 2**40
    assert farm.read(videos.costs, []) == {}


def test_the_pictures_of_characters_are_needed(farm: Farm) -> None:
    ada = farm.write(characters.insert, "Ada", "cd" * 32)
    assert farm.read(characters.get, ada.id) == ada
    with farm.database.read(streaming=True) as connection:
        assert removal.uploads_needed(connection) == {"cd" * 32}
    with pytest.raises(NotFoundError, match="There is no character 'char_none'"):
        farm.read(characters.get, "char_none")


def test_a_cancellation_sees_films_that_are_submitted_in_the_same_moment(farm: Farm) -> None:
    batch = a_batch(farm)
    seen: list[str | None] = []

    def cancel() -> None:
        with farm.database.write() as connection:
            batches.lock(connection, batch.id)
            seen.append(batches.get(connection, batch.id).campaign_id)

    with farm.database.write() as connection:
        assert batches.start(connection, batch, "c1", 2)
        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        cancelling.join(0.3)
        assert cancelling.is_alive(), "it waits for the one that submits"
    cancelling.join()
    assert seen == ["c1"]
