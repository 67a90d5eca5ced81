"""Why films do not move, in words, and the status that follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from db import events
from db.engine import Database
from db.films import campaigns, listing, user_actions
from db.films.listing import FilmRow
from db.segments import segment_lease
from db.workers import registry
from db.workers.registry import Registration, WorkerCommand, WorkerNews, WorkerState
from film.types import FilmStatus
from tests.db.farm import LEASE, Farm, a_film, between_keyframes


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def enter(farm: Farm, name: str = "gpu-01", **fields: Any) -> Registration:
    """A worker of the demo model, whose process has its name as the owner of its leases."""
    wanted = {"models": ("demo",), "weights": ("demo@r1",), "tags": (), "quiet": None} | fields
    worker = Registration(
        name=name, owner=name, host="host", device="cpu", lease_seconds=LEASE, **wanted
    )
    farm.write(registry.register, worker)
    return worker


def report(farm: Farm, worker: Registration, state: WorkerState, **news: Any) -> None:
    """The worker's beat."""
    farm.write(registry.beat, worker.name, worker.owner, WorkerNews(state=state, **news), ())


def only(farm: Farm, film_id: str) -> FilmRow:
    """A film as it is listed."""
    (row,) = farm.read(listing.films_of, film_id)
    return row  # type: ignore[no-any-return]


def standing(farm: Farm, film_id: str) -> tuple[str, str | None]:
    """A film's status and why it waits."""
    row = only(farm, film_id)
    return row.status.value, row.waiting


def test_without_a_worker_a_film_waits_for_one(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    nobody = "No worker is running; start `longreel worker`"
    assert standing(farm, film) == ("waiting", nobody)
    ended = enter(farm)
    farm.write(registry.end, ended.name, ended.owner)
    assert standing(farm, film) == ("waiting", nobody)


def test_a_film_that_a_worker_is_about_to_claim_is_queued_without_a_reason(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    enter(farm)
    assert standing(farm, film) == ("queued", None)


@pytest.mark.parametrize(
    ("has", "reason"),
    [
        ({"models": ("wan",)}, "No running worker has the model demo (for demo 96x64x17 +big)"),
        ({"weights": ("demo@r0",)}, "No running worker has demo at revision r1"),
        ({"tags": ("fast",)}, "No running worker has the tag big (for demo 96x64x17 +big)"),
    ],
)
def test_what_no_running_worker_has_is_named(farm: Farm, has: dict[str, Any], reason: str) -> None:
    (film,) = farm.submit(a_film(needs="big"))
    enter(farm, **has)
    assert standing(farm, film) == ("waiting", reason)


def test_tags_that_no_worker_has_together_are_named(farm: Farm) -> None:
    (film,) = farm.submit(a_film(needs="big fast"))
    enter(farm, "a", tags=("big",))
    enter(farm, "b", tags=("fast",))
    reason = "No running worker has the tags big, fast together (for demo 96x64x17 +big +fast)"
    assert standing(farm, film) == ("waiting", reason)


def test_workers_that_take_no_new_work_are_named_with_the_reason(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    quiet = enter(farm, "a", quiet="22:00-07:00")
    report(farm, quiet, WorkerState.QUIET)
    assert standing(farm, film) == (
        "waiting",
        "No worker that can render it takes new work: a (quiet 22:00-07:00)",
    )
    drained = enter(farm, "b")
    farm.write(registry.order, "b", WorkerCommand.DRAIN)
    report(farm, drained, WorkerState.DRAINED)
    status, reason = standing(farm, film)
    assert status == "waiting"
    assert reason == (
        "No worker that can render it takes new work: a (quiet 22:00-07:00), b (drained); "
        "`longreel worker resume b` continues it"
    )
    report(farm, quiet, WorkerState.IDLE)
    assert standing(farm, film) == ("queued", None)


def test_a_trouble_that_all_workers_report_is_the_reason(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    first, second = enter(farm, "a"), enter(farm, "b")
    away = "The store does not answer since 12:00"
    farm.write(registry.note_error, first.name, first.owner, away)
    assert standing(farm, film) == ("queued", None)  # the other one can take it
    farm.write(registry.note_error, second.name, second.owner, away)
    assert standing(farm, film) == ("waiting", f"Worker a: {away}")
    farm.write(registry.note_error, first.name, first.owner, None)
    assert standing(farm, film) == ("queued", None)


def test_the_trouble_of_a_process_is_shown_with_its_workers_until_it_is_over(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    enter(farm, "a")
    trouble = "Films wait for Prefect: no answer"
    farm.write(registry.note_trouble, "a", trouble)
    assert standing(farm, film) == ("waiting", f"Worker a: {trouble}")
    farm.write(registry.note_trouble, "a", trouble, over=True)
    assert standing(farm, film) == ("queued", None)


def test_a_campaign_that_renders_as_much_as_it_may_says_so(farm: Farm) -> None:
    first, second = farm.submit(a_film(tag="x"), a_film(tag="y"), max_workers=1)
    enter(farm)
    lease = farm.claim("gpu-01")
    other = second if lease.film_id == first else first
    assert standing(farm, lease.film_id) == ("rendering", None)
    assert standing(farm, other) == ("queued", "Its campaign renders at most 1 segment at a time")


def test_the_same_segment_rendered_for_another_film_is_said(farm: Farm) -> None:
    (first,), (second,) = farm.submit(a_film()), farm.submit(a_film())
    enter(farm)
    lease = farm.claim("gpu-01")
    other = second if lease.film_id == first else first
    reason = f"The same segment is being rendered for the film {lease.film_id}"
    assert standing(farm, other) == ("queued", reason)


def test_a_failed_attempt_is_the_reason_until_the_next_one(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    enter(farm)
    farm.give_up(farm.claim("gpu-01"))
    reason = "Tried again soon; the last attempt failed: no"
    assert standing(farm, film) == ("queued", reason)


def test_a_film_behind_others_says_whose_work_it_comes_after(farm: Farm) -> None:
    first, second = farm.submit(a_film(tag="x"), a_film(tag="y"))
    busy = enter(farm)
    lease = farm.claim("gpu-01")
    report(farm, busy, WorkerState.RENDERING, film_id=lease.film_id, position=0)
    other = second if lease.film_id == first else first
    assert standing(farm, other) == ("queued", "Its turn comes after other work of gpu-01")


def test_a_film_for_which_the_model_is_loaded_says_so(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    worker = enter(farm)
    lease = farm.claim("gpu-01")
    report(farm, worker, WorkerState.LOADING, film_id=film, position=lease.position)
    assert standing(farm, film) == ("rendering", "gpu-01 is loading the model")
    report(farm, worker, WorkerState.RENDERING, film_id=film, position=lease.position)
    assert standing(farm, film) == ("rendering", None)


def test_a_film_whose_segments_are_rendered_waits_for_its_join(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    farm.render_all()
    done = "All segments are rendered"
    assert standing(farm, film) == (
        "waiting",
        f"{done}, and no worker is running to join them; start `longreel worker`",
    )
    worker = enter(farm)
    assert standing(farm, film) == ("queued", f"{done}; they are joined next")
    farm.write(events.record, film, "waiting", "Prefect cannot run flows: no rights")
    assert standing(farm, film) == ("waiting", "Prefect cannot run flows: no rights")
    farm.write(registry.note_error, worker.name, worker.owner, "No store")
    assert standing(farm, film) == ("waiting", f"{done}. Worker gpu-01: No store")
    farm.deliver()
    assert standing(farm, film) == ("delivered", None)


def test_a_film_moves_if_one_of_its_kinds_can(farm: Farm) -> None:
    (film,) = farm.submit(between_keyframes())
    enter(farm)
    assert standing(farm, film) == ("queued", None)
    lease = farm.claim("gpu-01")
    assert standing(farm, film) == ("rendering", None)
    farm.finish(lease)
    assert only(farm, film).status is FilmStatus.QUEUED


def test_finished_and_paused_films_wait_for_nothing(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    campaign = only(farm, film).campaign
    farm.write(campaigns.pause, campaign)
    assert standing(farm, film) == ("paused", None)
    farm.write(campaigns.resume, campaign)
    farm.write(user_actions.cancel, film)
    assert standing(farm, film) == ("cancelled", None)


def test_progress_follows_the_steps_that_a_worker_reports(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=4))
    worker = enter(farm)
    lease = farm.claim("gpu-01")
    report(farm, worker, WorkerState.RENDERING, film_id=film, position=0, step=1, steps=2)
    assert only(farm, film).progress == 0.125
    farm.write(segment_lease.beat, lease, LEASE, 0.8)
    assert only(farm, film).progress == 0.2  # the lease's, which is further


def test_a_tally_counts_as_rendering_what_a_worker_renders(farm: Farm) -> None:
    first, _ = farm.submit(a_film(tag="x"), a_film(tag="y"))
    campaign = only(farm, first).campaign
    flow = farm.claim_film()
    assert flow.id == first
    counts = farm.read(listing.tally, campaign).films
    assert counts == {FilmStatus.QUEUED: 2}
    farm.claim("gpu-01")
    counts = farm.read(listing.tally, campaign).films
    assert counts == {FilmStatus.RENDERING: 1, FilmStatus.QUEUED: 1}


def test_every_open_film_has_its_own_reason(farm: Farm) -> None:
    plain, tagged = farm.submit(a_film(tag="x"), a_film(tag="y", needs="big"))
    enter(farm)
    with farm.database.read() as connection:
        rows = {row.id: row for row in listing.films_of(connection)}
    assert rows[plain].waiting is None
    assert rows[tagged].waiting == "No running worker has the tag big (for demo 96x64x17 +big)"
