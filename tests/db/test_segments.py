"""Segments: who holds one, what becomes of it, and what that wakes."""

from __future__ import annotations

import time

import pytest

from db import events
from db.engine import Database
from db.films import user_actions
from db.segments import segment_lease, takes
from db.segments.claims import Lease
from tests.db.farm import LEASE, Farm, a_film, between_keyframes, take_of, violations


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def lost(lease: Lease) -> list[Lease]:
    """The lease in the hands of those who do not hold it."""
    return [
        lease.replace(attempt=lease.attempt + 1),
        lease.replace(attempt=lease.attempt - 1),
        lease.replace(owner="somebody else"),
        lease.replace(id=lease.id + 10_000),
    ]


# -- claiming ----------------------------------------------------------------------------------


def test_the_most_urgent_is_claimed_first_then_the_oldest(farm: Farm) -> None:
    farm.submit(a_film(scenes=2, tag="a"))
    farm.submit(a_film(tag="b"), priority=5)
    farm.submit(a_film(tag="c"), priority=-5)
    claimed = [farm.claim() for _ in range(4)]
    assert [(lease.film_id, lease.position) for lease in claimed] == [
        ("c2-1", 0),
        ("c1-1", 0),
        ("c1-1", 3),
        ("c3-1", 0),
    ]
    assert farm.try_claim() is None


def test_a_claim_is_for_a_workers_models_and_campaigns(farm: Farm) -> None:
    farm.submit(a_film(tag="a"))
    farm.submit(a_film(tag="b"))
    assert farm.try_claim(models=("other",)) is None
    assert farm.try_claim(models=()) is None
    assert farm.try_claim(campaigns=()) is None
    assert farm.claim(campaigns=("c2",)).film_id == "c2-1"
    assert farm.claim(models=("other", "demo")).film_id == "c1-1"


def test_a_claimed_segment_says_who_has_it(farm: Farm) -> None:
    farm.submit(a_film())
    lease = farm.claim("w1")
    row = farm.row(lease)
    assert (row.status, row.owner, row.attempt, row.progress) == ("leased", "w1", 1, 0)
    assert row.started_at is not None
    assert row.finished_at is None
    assert farm.read(segment_lease.owners) == {"w1"}


# -- the holder of the lease, and all others ---------------------------------------------------


def test_only_the_holder_of_the_lease_changes_a_segment(farm: Farm) -> None:
    farm.submit(a_film())
    lease = farm.claim()
    before = farm.row(lease)
    for other in lost(lease):
        assert not farm.write(segment_lease.beat, other, LEASE, 0.5)
        assert not farm.write(segment_lease.finish, other, take_of(before.address))
        assert not farm.give_up(other)
        assert not farm.write(segment_lease.release, other)
    assert farm.row(lease) == before
    assert farm.take(before.address) is None
    assert farm.kinds(lease.film_id) == ["queued"]


@pytest.mark.parametrize("end", ["finish", "give_up", "release", "run out"])
def test_a_lease_that_ended_is_nobodys(farm: Farm, end: str) -> None:
    farm.submit(a_film(segments_each=1))
    lease = farm.claim()
    if end == "finish":
        assert farm.finish(lease)
    elif end == "give_up":
        assert farm.give_up(lease)
    elif end == "release":
        assert farm.write(segment_lease.release, lease)
    else:
        farm.run_out(lease)
        assert farm.write(segment_lease.reap, 3) == 1
    assert farm.finish(lease) == (end == "finish")
    assert not farm.give_up(lease)
    assert not farm.write(segment_lease.release, lease)
    assert not farm.write(segment_lease.beat, lease, LEASE, 0.5)
    assert farm.read(segment_lease.owners) == set()


def test_a_take_whose_recording_was_not_heard_of_is_recorded_once(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=1))
    lease = farm.claim()
    assert farm.finish(lease)
    assert farm.finish(lease), "it was this very attempt"
    assert farm.kinds(film_id).count("rendered") == 1
    assert not farm.finish(lease.replace(attempt=lease.attempt + 1))


def test_a_take_that_another_film_gave_is_not_the_attempts_own(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1))
    lease = farm.claim()
    farm.run_out(lease)
    farm.write(segment_lease.reap, 3)
    again = farm.claim()
    assert farm.finish(again)
    assert not farm.finish(lease)


def test_the_holder_of_an_earlier_lease_cannot_end_a_later_one(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1))
    old = farm.claim("w")
    farm.write(segment_lease.release, old)
    new = farm.claim("w")
    assert not farm.finish(old)
    assert farm.finish(new)


def test_a_finished_segment_has_its_take(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=1))
    lease = farm.claim()
    farm.finish(lease)
    row = farm.row(lease)
    assert (row.status, row.progress, row.owner, row.error) == ("done", 1, None, None)
    assert row.finished_at is not None
    assert farm.take(row.address) == take_of(row.address)
    (_, rendered) = farm.read(events.of_film, film_id)
    assert (rendered.kind, rendered.segment) == ("rendered", 0)
    assert rendered.message == "Segment 1: 17 frames in 1.5 s"


def test_the_first_take_of_an_address_stays(farm: Farm) -> None:
    first = take_of("0" * 64)
    farm.write(takes.keep, first)
    farm.write(takes.keep, first.replace(sha256="another"))
    assert farm.take(first.address) == first


def test_the_same_work_of_two_films_is_leased_once(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1), a_film(segments_each=1))
    lease = farm.claim()
    assert farm.try_claim() is None
    farm.give_up(lease)
    assert farm.finish(farm.claim())
    assert farm.statuses("c1-1") == farm.statuses("c1-2") == ["done"]


# -- chains ------------------------------------------------------------------------------------


def test_a_segment_is_ready_exactly_when_the_one_before_it_is_done(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=3))
    assert farm.statuses(film_id) == ["ready", "waiting", "waiting"]
    lease = farm.claim()
    assert farm.statuses(film_id) == ["leased", "waiting", "waiting"]
    farm.give_up(lease)
    assert farm.statuses(film_id) == ["ready", "waiting", "waiting"]
    farm.finish(farm.claim())
    assert farm.statuses(film_id) == ["done", "ready", "waiting"]
    farm.finish(farm.claim())
    assert farm.statuses(film_id) == ["done", "done", "ready"]


def test_the_same_work_in_other_films_is_done_with_it(farm: Farm) -> None:
    farm.submit(a_film(segments_each=2), a_film(segments_each=2), a_film(tag="other"))
    farm.finish(farm.claim())
    assert farm.statuses("c1-1") == ["done", "ready"]
    assert farm.statuses("c1-2") == ["done", "ready"]
    assert farm.statuses("c1-3") == ["ready", "waiting", "waiting"]
    assert [row.reused for row in farm.rows("c1-2")] == [True, False]
    assert farm.render_all() == 1 + 3


def test_the_same_work_in_films_at_their_end_is_left_alone(farm: Farm) -> None:
    farm.submit(a_film(segments_each=2), a_film(segments_each=2))
    farm.write(user_actions.cancel, "c1-2")
    farm.render_all()
    assert farm.statuses("c1-2") == ["cancelled", "cancelled"]


# -- attempts ----------------------------------------------------------------------------------


def test_a_segment_is_tried_as_often_as_it_may(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=1))
    for attempt in (1, 2, 3):
        lease = farm.claim()
        assert lease.attempt == attempt
        assert farm.give_up(lease, attempts=3)
        assert farm.row(lease).failures == attempt
    assert farm.statuses(film_id) == ["failed"]
    assert farm.row(lease).error == "no"
    assert farm.try_claim() is None
    assert farm.kinds(film_id) == ["queued"] + ["error"] * 3
    last = farm.read(events.of_film, film_id)[-1]
    assert (last.message, last.detail) == ("Segment 1, attempt 3: no", "trace")


def test_a_permanent_error_is_not_tried_again(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film())
    farm.give_up(farm.claim(), permanent=True)
    assert farm.statuses(film_id) == ["failed", "waiting", "waiting"]


def test_a_segment_given_back_has_not_failed(farm: Farm) -> None:
    farm.submit(a_film())
    lease = farm.claim()
    assert farm.write(segment_lease.release, lease)
    assert (farm.row(lease).status, farm.row(lease).failures) == ("ready", 0)
    assert farm.claim().attempt == 2


def test_only_leases_that_ran_out_are_reaped(farm: Farm) -> None:
    farm.submit(a_film(scenes=2))
    lost_one, held = farm.claim("dead"), farm.claim("alive")
    assert farm.write(segment_lease.reap, 3) == 0
    farm.run_out(lost_one)
    assert farm.write(segment_lease.reap, 3) == 1
    assert farm.row(lost_one).status == "ready"
    assert farm.row(lost_one).failures == 1
    assert farm.row(lost_one).error == "The worker dead stopped answering"  # it has no name
    assert farm.row(held).status == "leased"


def test_leases_run_out_by_the_databases_clock_unless_they_are_extended(farm: Farm) -> None:
    farm.submit(a_film(scenes=2))
    silent, beating = farm.claim(seconds=0.05), farm.claim(seconds=0.05)
    assert farm.write(segment_lease.beat, beating, LEASE, 0.25)
    time.sleep(0.1)
    assert farm.write(segment_lease.reap, 3) == 1
    assert farm.row(silent).status == "ready"
    assert (farm.row(beating).status, farm.row(beating).progress) == ("leased", 0.25)


def test_a_segment_whose_workers_keep_dying_fails(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=1))
    for _ in range(2):
        farm.run_out(farm.claim())
        farm.write(segment_lease.reap, 2)
    assert farm.statuses(film_id) == ["failed"]


def test_the_segments_of_a_dead_owner_are_ready_again(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(scenes=3, segments_each=1))
    farm.claim("dead"), farm.claim("dead"), farm.claim("alive")
    assert farm.write(segment_lease.release_owner, "dead") == 2
    assert farm.statuses(film_id) == ["ready", "ready", "leased"]
    assert [row.failures for row in farm.rows(film_id)] == [0, 0, 0]


# -- takes that are gone -----------------------------------------------------------------------


def test_a_forgotten_take_is_rendered_again_and_what_continues_it_waits(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=3))
    farm.finish(farm.claim())
    address = farm.rows(film_id)[0].address
    farm.write(takes.forget, address)
    assert farm.take(address) is None
    assert farm.statuses(film_id) == ["ready", "waiting", "waiting"]
    assert farm.render_all() == 3


def test_a_forgotten_take_in_the_middle_is_rendered_alone(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=3))
    farm.render_all()
    farm.write(takes.forget, farm.rows(film_id)[1].address)
    assert farm.statuses(film_id) == ["done", "ready", "done"]
    assert farm.render_all() == 1


def test_who_renders_from_a_forgotten_take_loses_the_lease(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film(segments_each=2))
    farm.finish(farm.claim())
    lease = farm.claim()
    farm.write(takes.forget, farm.rows(film_id)[0].address)
    assert not farm.write(segment_lease.release, lease)
    assert farm.statuses(film_id) == ["ready", "waiting"]
    assert list(violations(farm.database)) == []
    assert farm.render_all() == 2


def test_a_delivered_film_keeps_its_segments_when_a_take_is_forgotten(farm: Farm) -> None:
    farm.submit(a_film(segments_each=2))
    farm.render_all()
    farm.deliver()
    (again,) = farm.submit(a_film(segments_each=2))
    farm.write(takes.forget, farm.rows(again)[0].address)
    assert farm.statuses("c1-1") == ["done", "done"]
    assert farm.statuses(again) == ["ready", "done"]


def test_forgetting_what_there_is_not_changes_nothing(farm: Farm) -> None:
    (film_id,) = farm.submit(a_film())
    farm.write(takes.forget, "0" * 64)
    assert farm.statuses(film_id) == ["ready", "waiting", "waiting"]


def test_a_worker_is_given_neither_a_segment_nor_a_kind_that_it_cannot_do(farm: Farm) -> None:
    farm.submit(a_film(scenes=2, segments_each=1))
    first, second = farm.claim(), farm.claim()
    assert farm.give_up(first)
    assert farm.give_up(second)
    assert farm.try_claim(avoid=(first.id,)).id == second.id
    assert farm.try_claim(avoid=(first.id,)) is None
    assert farm.try_claim(without=(first.kind,)) is None
    assert farm.try_claim(without=("demo 1x1x1",)).id == first.id


# -- several that wait for one -----------------------------------------------------------------


def test_all_segments_between_keyframes_wait_for_the_anchor_alone(farm: Farm) -> None:
    (film_id,) = farm.submit(between_keyframes())
    assert farm.statuses(film_id) == ["ready", "waiting", "waiting", "waiting"]
    anchor = farm.claim()
    assert farm.try_claim() is None
    assert farm.finish(anchor)
    leases = [farm.claim(f"w{number}") for number in range(3)]
    assert [lease.position for lease in leases] == [1, 2, 3]
    for lease in reversed(leases):
        assert farm.finish(lease)
    assert farm.statuses(film_id) == ["done"] * 4
    assert not list(violations(farm.database))


def test_an_anchor_whose_keyframes_are_gone_is_waited_for_again(farm: Farm) -> None:
    (film_id,) = farm.submit(between_keyframes())
    anchor = farm.claim()
    farm.finish(anchor)
    done, held = farm.claim(), farm.claim()
    farm.finish(done)
    farm.write(takes.forget, farm.row(anchor).address)
    assert farm.statuses(film_id) == ["ready", "done", "waiting", "waiting"]
    assert not farm.finish(held)
    assert farm.finish(farm.claim())
    assert farm.statuses(film_id) == ["done", "done", "ready", "ready"]
    assert not list(violations(farm.database))
