"""Campaigns and films: what is listed, and every transition of a film with its fences."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from db import events
from db.engine import Database
from db.films import campaigns, film_lease, films, listing, user_actions
from db.segments import progress, segment_lease, takes
from db.tables import events as event_table
from db.tables import films as film_table
from film.errors import NotFoundError, UnreadableFilmError
from film.reading.film import film_from_prompt
from film.types import FilmStatus, SegmentStatus, to_json
from tests.db.farm import DELIVERY, LEASE, Farm, a_film, planned_as, take_of, violations


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def lost(film: films.Film) -> list[films.Film]:
    """The film in the hands of those who do not hold its lease."""
    return [
        film.replace(attempt=film.attempt + 1),
        film.replace(attempt=film.attempt - 1),
        film.replace(owner="somebody else"),
        film.replace(id="c9-9"),
    ]


# -- submitting and reading --------------------------------------------------------------------


def test_a_campaign_has_its_films_in_order(farm: Farm) -> None:
    assert farm.submit(a_film(tag="a"), a_film(tag="b")) == ["c1-1", "c1-2"]
    assert farm.read(campaigns.resolve, "c1") == ["c1-1", "c1-2"]
    assert farm.read(campaigns.resolve, "c1-2") == ["c1-2"]


def test_a_film_comes_back_whole(farm: Farm) -> None:
    request = a_film(scenes=2)
    (film_id,) = farm.submit(request)
    film = farm.read(films.get, film_id)
    assert film.request == request
    assert film.plan == planned_as(request)
    assert (film.campaign, film.title, film.status) == ("c1", "Film x", FilmStatus.QUEUED)
    assert (film.attempt, film.owner, film.flow_run_id, film.delivery) == (0, None, None, None)


@pytest.mark.parametrize("query", [films.get, films.status, campaigns.resolve])
def test_what_is_not_there_is_told(farm: Farm, query: Callable[..., object]) -> None:
    with pytest.raises(NotFoundError, match="nope"):
        farm.read(query, "nope")


def test_the_first_segment_of_each_chain_is_ready(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(scenes=2, segments_each=3))
    assert farm.statuses(film_id) == ["ready", "waiting", "waiting"] * 2


def test_thousands_of_segments_are_inserted_in_batches(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=campaigns.BATCH + 5))
    assert len(farm.rows(film_id)) == campaigns.BATCH + 5


def test_what_was_rendered_before_is_done_from_the_beginning(farm: Farm) -> None:
    farm.submit(a_film(segments_each=2))
    first = farm.claim()
    farm.finish(first)
    (again,) = farm.submit(a_film(segments_each=2))
    assert farm.statuses(again) == ["done", "ready"]
    assert [row.reused for row in farm.rows(again)] == [True, False]


def test_a_listing_shows_progress(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=4))
    farm.finish(farm.claim())
    assert farm.write(segment_lease.beat, farm.claim(), LEASE, 0.5)
    (row,) = farm.read(listing.films_of)
    assert (row.id, row.campaign, row.campaign_name) == (film_id, "c1", "Campaign c1")
    assert (row.segments, row.done, row.reused) == (4, 1, 0)
    assert (row.frames, row.seconds) == (53, 53 / 8)
    assert row.progress == pytest.approx(1.5 / 4, abs=0.03)


def test_a_listing_tells_which_films_have_sound(farm: Farm) -> None:
    loud = film_from_prompt("Rain falls.", {"model": "ltx2", "seconds": 3})
    silent = loud.replace(sound=False)
    ids = farm.submit(loud, silent, a_film(), loud)
    before = {k: v for k, v in to_json(planned_as(loud)).items() if k != "sound"}
    change = film_table.update().where(film_table.c.id == ids[3]).values(plan=before)
    farm.write(lambda connection: connection.execute(change))
    found = {row.id: row.sound for row in farm.read(listing.films_of)}
    assert [found[film_id] for film_id in ids] == [True, False, False, False]


def test_progress_is_1_only_when_delivered(farm: Farm) -> None:
    farm.submit(a_film())
    farm.render_all()
    assert farm.read(listing.films_of)[0].progress < 1
    farm.deliver()
    assert farm.read(listing.films_of)[0].progress == 1


def test_a_listing_begins_with_the_newest_campaign_and_ends_at_its_limit(farm: Farm) -> None:
    farm.submit(a_film(tag="a"), a_film(tag="b"))
    time.sleep(0.01)
    farm.submit(a_film(tag="c"))
    assert [row.id for row in farm.read(listing.films_of)] == ["c2-1", "c1-1", "c1-2"]
    assert [row.id for row in farm.read(listing.films_of, limit=2)] == ["c2-1", "c1-1"]
    assert [row.id for row in farm.read(listing.films_of, "c1-2")] == ["c1-2"]
    assert [row.id for row in farm.read(listing.films_of, "c1")] == ["c1-1", "c1-2"]
    assert farm.read(listing.films_of, "nope") == []


def test_events_are_kept_in_order(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film())
    film = farm.claim_film()
    farm.write(film_lease.fail, film, "no more", "trace")
    queued, failed = farm.read(events.of_film, film_id)
    assert (queued.kind, failed.kind) == ("queued", "failed")
    assert (failed.message, failed.detail, failed.segment) == ("no more", "trace", None)
    assert queued.at <= failed.at


# -- the lease on a film's flow ----------------------------------------------------------------


def test_the_most_urgent_film_is_claimed_first_then_the_oldest(farm: Farm) -> None:
    farm.submit(a_film(tag="a"), a_film(tag="b"))
    farm.submit(a_film(tag="c"), priority=5)
    assert [farm.claim_film().id for _ in range(3)] == ["c2-1", "c1-1", "c1-2"]
    assert farm.write(film_lease.claim, "flow", LEASE) is None


def test_a_claim_may_be_for_certain_campaigns(farm: Farm) -> None:
    farm.submit(a_film(tag="a"))
    farm.submit(a_film(tag="b"))
    assert farm.write(film_lease.claim, "flow", LEASE, ["c2"]).id == "c2-1"
    assert farm.write(film_lease.claim, "flow", LEASE, ["c2"]) is None
    assert farm.write(film_lease.claim, "flow", LEASE, []) is None


def test_a_film_is_claimed_again_only_when_its_lease_ran_out(farm: Farm) -> None:
    farm.submit(a_film())
    first = farm.claim_film("one")
    farm.write(film_lease.attach_flow_run, first, "run 1")
    assert farm.write(film_lease.claim, "two", LEASE) is None
    farm.run_out_film(first)
    second = farm.claim_film("two")
    assert (second.owner, second.attempt) == ("two", first.attempt + 1)
    assert second.flow_run_id == "run 1"  # the run to report
    assert farm.read(films.get, second.id).flow_run_id is None
    assert not farm.write(film_lease.beat, first, LEASE)


def test_a_beat_keeps_the_lease(farm: Farm) -> None:
    farm.submit(a_film())
    film = farm.claim_film(seconds=0.001)
    assert farm.write(film_lease.beat, film, LEASE)
    assert farm.write(film_lease.claim, "two", LEASE) is None


def test_a_lease_ends_by_the_databases_clock(farm: Farm) -> None:
    farm.submit(a_film())
    farm.claim_film(seconds=0.05)
    time.sleep(0.1)
    assert farm.claim_film("two").attempt == 2


def test_a_film_advances_in_the_hands_of_its_owner_only(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film())
    film = farm.claim_film()
    for other in lost(film):
        assert not farm.write(film_lease.advance, other, FilmStatus.STITCHING, "x")
        assert not farm.write(film_lease.beat, other, LEASE)
        assert not farm.write(film_lease.finish, other, DELIVERY)
        assert not farm.write(film_lease.fail, other, "x")
        farm.write(film_lease.attach_flow_run, other, "x")
        farm.write(film_lease.release, other)
    untouched = farm.read(films.get, film_id)
    assert (untouched.status, untouched.owner, untouched.flow_run_id) == ("queued", "flow", None)
    assert farm.kinds(film_id) == ["queued"]
    assert farm.write(film_lease.advance, film, FilmStatus.RENDERING, "on it")
    assert farm.status(film_id) is FilmStatus.RENDERING
    assert farm.kinds(film_id) == ["queued", "rendering"]


def test_a_delivered_film_is_at_its_end(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film())
    farm.render_all()
    film = farm.deliver()
    assert farm.read(films.get, film_id).delivery == DELIVERY
    assert farm.kinds(film_id)[-1] == "delivered"
    assert farm.write(film_lease.finish, film, DELIVERY), "it was this very attempt"
    later = film.replace(attempt=film.attempt + 1)
    assert not farm.write(film_lease.finish, later, DELIVERY)
    assert farm.kinds(film_id).count("delivered") == 1
    assert not farm.write(film_lease.fail, film, "late")
    assert not farm.write(user_actions.cancel, film_id)
    assert not farm.write(user_actions.requeue, film_id)
    assert farm.status(film_id) is FilmStatus.DELIVERED
    assert not farm.read(films.any_open)


def test_a_failed_film_ends_its_segments(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(scenes=2, segments_each=2))
    farm.finish(farm.claim())
    lease = farm.claim()
    assert farm.write(film_lease.fail, farm.claim_film(), "broken")
    assert farm.statuses(film_id) == ["done", "cancelled", "cancelled", "cancelled"]
    assert not farm.finish(lease)
    assert farm.read(listing.films_of)[0].error == "broken"
    assert farm.try_claim() is None


def test_a_released_film_is_anyones_at_once(farm: Farm) -> None:
    farm.submit(a_film())
    film = farm.claim_film("one")
    farm.write(film_lease.advance, film, FilmStatus.RENDERING, "x")
    farm.write(film_lease.release, film)
    assert farm.status(film.id) is FilmStatus.QUEUED
    assert farm.claim_film("two").id == film.id


def test_the_films_of_a_dead_owner_are_anyones(farm: Farm) -> None:
    farm.submit(a_film(tag="a"), a_film(tag="b"), a_film(tag="c"))
    dead = [farm.claim_film("dead"), farm.claim_film("dead")]
    alive = farm.claim_film("alive")
    farm.write(film_lease.attach_flow_run, dead[0], "run 1")
    farm.write(film_lease.attach_flow_run, alive, "run 2")
    assert farm.read(segment_lease.owners) == {"dead", "alive"}
    assert farm.write(film_lease.release_owner, "dead") == ["run 1"]
    assert {farm.claim_film("new").id for _ in dead} == {film.id for film in dead}
    assert farm.write(film_lease.beat, alive, LEASE)


# -- what users decide -------------------------------------------------------------------------


def test_a_cancelled_film_leaves_nothing_to_render(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(scenes=3, segments_each=2))
    film = farm.claim_film()
    farm.finish(farm.claim())
    lease = farm.claim()
    assert farm.write(user_actions.cancel, film_id)
    assert farm.statuses(film_id) == ["done"] + ["cancelled"] * 5
    assert not farm.finish(lease)
    assert not farm.write(segment_lease.beat, lease, LEASE, 0.5)
    assert not farm.write(film_lease.beat, film, LEASE)
    assert not farm.write(user_actions.cancel, film_id)
    assert farm.try_claim() is None
    assert not farm.read(films.any_open)


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_retried_film_goes_on_where_it_was(farm: Farm, end: str) -> None:
    (film_id,) = farm.submit(a_film(scenes=2, segments_each=2))
    farm.finish(farm.claim())
    farm.give_up(farm.claim(), permanent=True)
    if end == "cancelled":
        farm.write(user_actions.cancel, film_id)
    else:
        farm.write(film_lease.fail, farm.claim_film(), "broken")
    assert farm.write(user_actions.requeue, film_id)
    assert farm.statuses(film_id) == ["done", "ready", "ready", "waiting"]
    assert [row.failures for row in farm.rows(film_id)] == [0] * 4
    assert farm.read(listing.films_of)[0].error is None
    assert not farm.write(user_actions.requeue, film_id)
    assert farm.render_all() == 3
    farm.deliver()


def test_a_retried_film_takes_over_what_others_rendered_meanwhile(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=3))
    farm.write(user_actions.cancel, film_id)
    farm.submit(a_film(segments_each=2))  # its first segment, and one that is as long
    farm.submit(a_film(segments_each=3))
    farm.render_all()
    assert farm.write(user_actions.requeue, film_id)
    assert farm.statuses(film_id) == ["done"] * 3
    assert len(farm.read(takes.of_film, film_id)) == 3


@pytest.mark.parametrize("end", ["cancelled", "failed", "delivered"])
def test_a_film_that_goes_on_renders_again_what_was_forgotten_meanwhile(
    farm: Farm, end: str
) -> None:
    (film_id,) = farm.submit(a_film(segments_each=3))
    farm.render_all()
    if end == "cancelled":
        farm.write(user_actions.cancel, film_id)
    elif end == "failed":
        farm.write(film_lease.fail, farm.claim_film(), "broken")
    else:
        farm.deliver()
    farm.write(takes.forget, farm.rows(film_id)[1].address)
    assert farm.statuses(film_id) == ["done"] * 3
    farm.write(user_actions.reopen if end == "delivered" else user_actions.requeue, film_id)
    assert farm.statuses(film_id) == ["done", "ready", "done"]
    farm.render_all()
    assert len(farm.read(takes.of_film, film_id)) == 3


def test_a_delivered_film_is_reopened_and_no_other(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film())
    farm.write(user_actions.reopen, film_id)
    farm.write(user_actions.reopen, "nope")
    assert farm.kinds(film_id) == ["queued"]
    farm.render_all()
    farm.deliver()
    farm.write(user_actions.reopen, film_id)
    assert farm.status(film_id) is FilmStatus.QUEUED
    assert farm.read(films.get, film_id).delivery is None
    assert farm.statuses(film_id) == ["done"] * 3
    assert list(violations(farm.database)) == []
    farm.deliver()


def test_films_are_open_until_their_end(farm: Farm) -> None:
    assert not farm.read(films.any_open)
    farm.submit(a_film())
    assert farm.read(films.any_open)


def test_takes_are_those_of_the_segments_in_order(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=2))
    assert farm.read(takes.of_film, film_id) == [None, None]
    farm.finish(farm.claim())
    first = farm.rows(film_id)[0].address
    assert farm.read(takes.of_film, film_id) == [take_of(first), None]
    assert farm.read(takes.find, first) == take_of(first)
    assert farm.read(takes.find, farm.rows(film_id)[1].address) is None
    farm.render_all()
    expected = [take_of(row.address) for row in farm.rows(film_id)]
    assert farm.read(takes.of_film, film_id) == expected
    assert farm.read(progress.tally, film_id) == {SegmentStatus.DONE: 2}


def test_busy_films_are_found_without_looking_at_those_that_wait(farm: Farm) -> None:
    farm.submit(*(a_film(tag=f"f{number}", segments_each=2) for number in range(3)))
    with farm.database.write() as connection:  # recorded long ago
        connection.execute(event_table.delete())
    assert farm.write(film_lease.claim, "flow", LEASE, busy_only=True) is None
    lease = farm.claim()
    assert farm.write(film_lease.claim, "flow", LEASE, finished_only=True) is None
    assert farm.write(film_lease.claim, "flow", LEASE, busy_only=True).id == lease.film_id
    assert farm.write(film_lease.claim, "flow", LEASE).id == "c1-2"


def test_finished_films_are_found_where_only_they_are_wanted(farm: Farm) -> None:
    farm.submit(a_film(tag="a"), a_film(tag="b", segments_each=1))
    while (lease := farm.claim()).film_id != "c1-2":
        farm.finish(lease)
    farm.finish(lease)
    farm.write(user_actions.requeue, "c1")
    claimed = farm.write(film_lease.claim, "flow", LEASE, finished_only=True, busy_only=True)
    assert set(farm.statuses(claimed.id)) == {"done"}


def test_many_films_are_submitted_in_batches(farm: Farm) -> None:
    count = campaigns.FILMS_AT_ONCE + 2
    ids = farm.submit(*(a_film(tag=f"f{n}", segments_each=1) for n in range(count)))
    assert len(farm.read(listing.films_of)) == len(ids) == count
    assert farm.read(listing.tally, "c1").films == {FilmStatus.QUEUED: count}
    assert farm.read(listing.tally, "c1").segments == {SegmentStatus.READY: count}
    assert len(farm.read(events.of, "c1", "c1")) == count
    assert len(farm.write(user_actions.cancel, "c1")) == count
    assert len(farm.write(user_actions.requeue, "c1")) == count


def test_the_events_of_a_campaign_are_those_of_its_films(farm: Farm) -> None:
    farm.submit(a_film(tag="a"), a_film(tag="b"))
    farm.submit(a_film(tag="c"))
    first, second = farm.read(events.of, "c1", "c1")
    assert (first.film_id, second.film_id) == ("c1-1", "c1-2")
    assert farm.read(events.of, "c1", "c1", first.id) == [second]
    assert farm.read(events.of, "c1", "c1-1") == [first]


# -- films of another version --------------------------------------------------------------------


@pytest.mark.parametrize("column", ["plan", "request"])
def test_a_film_that_cannot_be_read_holds_up_nobody(
    farm: Farm, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    newer, mine = farm.submit(a_film(tag="a"), a_film(tag="b"))
    with farm.database.write() as connection:
        strange = {column: {"version": 99}}
        connection.execute(film_table.update().where(film_table.c.id == newer).values(**strange))
    assert farm.claim_film().id == mine
    assert f"The film {newer} was written by another version of Longreel" in caplog.text
    with pytest.raises(UnreadableFilmError, match="Update Longreel"):
        farm.read(films.get, newer)
    assert farm.read(films.status, newer) is FilmStatus.QUEUED


@pytest.mark.parametrize(
    "filters",
    [
        {"statuses": [FilmStatus.CANCELLED]},
        {"statuses": [FilmStatus.QUEUED, FilmStatus.WAITING]},
        {"text": "FILM 2"},
        {"text": "campaign c1"},
        {"text": "none is called so"},
        {"key_id": "k"},
        {"since": 0.0, "statuses": [FilmStatus.CANCELLED]},
    ],
    ids=str,
)
def test_pages_of_what_matches_are_the_whole_list(
    farm: Farm, filters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "AMONG_NEWEST", (2, 5))
    for number in range(12):
        films_of = [a_film(segments_each=1, tag=f"{number}{n}") for n in range(number % 4 + 1)]
        made = farm.submit(*films_of, key_id="k" if number % 3 == 0 else None)
        for film in made[:: number % 2 + 1]:
            if number % 5:
                farm.write(user_actions.cancel, film)
    whole = [row.id for row in farm.read(listing.find_films, **filters)]
    for size in (1, 3, 7):
        paged: list[str] = []
        while True:
            after = paged[-1] if paged else None
            page = farm.read(listing.find_films, after=after, limit=size, **filters)
            paged += [row.id for row in page]
            if len(page) < size:
                break
        assert paged == whole
