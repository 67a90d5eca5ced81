"""Estimates: what a campaign would cost, from what segments of the same kind used."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from db.segments import segment_lease
from db.segments.claims import Lease
from db.tables import renders
from db.workers import registry
from film.errors import InputError
from film.reading.film import film_from_prompt
from film.types import Campaign, FilmRequest
from flows.farm import Farm
from flows.model_catalog.revisions import revision_of
from flows.submission.estimate import NOTHING, Queued, Spread, _spread, estimate, finish
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film, take_of


@pytest.fixture
def rows(small_farm: Farm) -> Rows:
    return Rows(small_farm.database)


def campaign(*films: FilmRequest, priority: int = 0) -> Campaign:
    return Campaign(name="c", films=films, priority=priority)


def finish_with(
    rows: Rows, lease: Lease, seconds: float, device: str = "cpu: x", gpus: int = 1
) -> None:
    take = take_of(rows.row(lease).address).replace(
        made_by={"render_seconds": seconds, "device": device},
        stored_bytes=2000,
    )
    assert rows.write(segment_lease.finish, lease, take)


def render_history(rows: Rows, seconds: list[float], device: str = "cpu: x") -> None:
    """Renders a segment of the demo model in each of these times."""
    rows.submit(a_film(scenes=len(seconds), segments_each=1, tag=f"history {device}"))
    for each in seconds:
        finish_with(rows, rows.claim(), each, device)


def start_worker(farm: Farm, name: str, device: str = "cpu") -> None:
    me = registry.Registration(
        name=name,
        owner=name,
        host="h",
        device=device,
        models=("demo",),
        weights=(f"demo@{revision_of(farm, 'demo')}",),
        tags=(),
        quiet=None,
        lease_seconds=60.0,
    )
    Rows(farm.database).write(registry.register, me)


def test_what_was_never_rendered_is_unknown_and_named(small_farm: Farm) -> None:
    found = estimate(small_farm, campaign(a_film()))
    assert found.unknown
    assert all(kind.startswith("demo 96x64x") for kind in found.unknown)
    assert (found.films, found.segments, found.rendered_before) == (1, 3, 0)
    for unknown in (found.gpu_seconds, found.finished_in_seconds, found.stored_bytes, found.cost):
        assert unknown is None


def test_gpu_time_bytes_and_money_follow_from_what_was_measured(
    small_farm: Farm, rows: Rows
) -> None:
    render_history(rows, [1.0, 2.0, 3.0, 4.0, 5.0])
    priced = Farm(small_farm.settings.model_copy(update={"gpu_hour_price": 3600.0}))
    found = estimate(priced, campaign(a_film(scenes=10, segments_each=1)))
    assert found.unknown == ()
    assert found.gpu_seconds == Spread(low=14.0, middle=30.0, high=46.0)
    assert found.cost == found.gpu_seconds
    assert (found.samples, found.devices) == (5, ("cpu: x",))
    assert found.stored_bytes == 10 * 2 * 2000
    assert found.finished_in_seconds is None, "no worker is running"
    priced.close()


def test_only_what_is_to_be_rendered_counts_and_the_same_work_once(
    small_farm: Farm, rows: Rows
) -> None:
    from flows.submission.submit import submit

    submit(small_farm, campaign(a_film(scenes=2, segments_each=1)))
    finish_with(rows, rows.claim(), 2.0)
    again = estimate(
        small_farm, campaign(a_film(scenes=2, segments_each=1), a_film(scenes=2, segments_each=1))
    )
    assert (again.segments, again.rendered_before) == (4, 3)
    assert again.gpu_seconds == Spread(low=2.0, middle=2.0, high=2.0)


def test_the_devices_of_the_running_workers_count_and_gpus_add_up(
    small_farm: Farm, rows: Rows
) -> None:
    render_history(rows, [10.0, 10.0], "cpu: x")
    render_history(rows, [1.0, 1.0], "cuda: NVIDIA H200")
    request = campaign(a_film(scenes=4, segments_each=1, tag="new"))
    assert estimate(small_farm, request).devices == ("cpu: x", "cuda: NVIDIA H200")
    start_worker(small_farm, "gpu", "cuda:0")
    found = estimate(small_farm, request)
    assert found.devices == ("cuda: NVIDIA H200",)
    assert found.gpu_seconds == Spread(low=4.0, middle=4.0, high=4.0)
    assert found.finished_in_seconds == Spread(low=4.0, middle=4.0, high=4.0)
    start_worker(small_farm, "gpu2", "cuda:1")
    assert estimate(small_farm, request).finished_in_seconds == Spread(low=2, middle=2, high=2)
    chain = campaign(a_film(scenes=1, segments_each=1, tag="alone"))
    found = estimate(small_farm, chain)
    assert found.finished_in_seconds == Spread(low=1, middle=1, high=1), "one worker renders it"


def test_the_time_of_denoising_follows_the_steps(small_farm: Farm, rows: Rows) -> None:
    def with_steps(steps: int, guidance: float = 1.0) -> FilmRequest:
        film = a_film(segments_each=1, tag=f"steps {steps} {guidance}")
        settings = film.settings.replace(num_inference_steps=steps, guidance_scale=guidance)
        return film.replace(settings=settings)

    rows.submit(with_steps(10))
    lease = rows.claim()
    made_by = {
        "render_seconds": 12.0,
        "denoise_seconds": 10.0,
        "num_inference_steps": 10,
        "guidance_scale": 1.0,
        "device": "cpu: x",
    }
    take = take_of(rows.row(lease).address).replace(made_by=made_by)
    assert rows.write(segment_lease.finish, lease, take)
    for film, seconds in (
        (with_steps(40), 42.0),
        (with_steps(2), 4.0),
        (with_steps(10, 5.0), 22.0),
    ):
        found = estimate(small_farm, campaign(film)).gpu_seconds
        assert found is not None
        assert found.middle == pytest.approx(seconds)


def test_what_is_queued_delays_by_priority(small_farm: Farm, rows: Rows) -> None:
    render_history(rows, [1.0])
    start_worker(small_farm, "w")
    rows.submit(a_film(scenes=6, segments_each=1, tag="queued"))
    mine = a_film(scenes=2, segments_each=1, tag="mine")
    found = estimate(small_farm, campaign(mine)).finished_in_seconds
    assert found == Spread(low=2.0, middle=4.0, high=8.0)
    urgent = estimate(small_farm, campaign(mine, priority=5)).finished_in_seconds
    assert urgent == Spread(low=2.0, middle=2.0, high=8.0)


def test_history_stays_when_its_films_are_removed(small_farm: Farm, rows: Rows) -> None:
    render_history(rows, [1.0])
    with small_farm.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(renders)).scalar() == 1


def test_a_new_farm_estimates_without_a_database(small_farm: Farm) -> None:
    request = film_from_prompt("A red ball.", {})
    assert estimate(small_farm, campaign(request)).unknown


@given(values=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50))
def test_a_spread_is_in_order_and_within_what_was_measured(values: list[float]) -> None:
    spread = _spread(values)
    slack = 1 + 1e-9
    assert min(values) <= spread.low * slack
    assert spread.low <= spread.middle * slack
    assert spread.middle <= spread.high * slack
    assert spread.high <= max(values) * slack


@given(
    total=st.floats(0.1, 1e6),
    part=st.floats(0.01, 1.0),
    workers=st.integers(1, 500),
    queued=st.lists(st.tuples(st.integers(-3, 3), st.floats(0, 1e6)), max_size=8),
)
def test_the_end_is_never_before_the_longest_chain_or_the_work_of_all_workers(
    total: float, part: float, workers: int, queued: list[tuple[int, float]]
) -> None:
    work = Spread(low=total * 0.5, middle=total, high=total * 2)
    others = [Queued(priority=priority, seconds=seconds) for priority, seconds in queued]
    found = finish(work, work.times(part), workers, others, 0)
    assert found is not None
    assert found.low <= found.middle * (1 + 1e-9)
    assert found.middle <= found.high * (1 + 1e-9)
    assert found.middle >= total / workers * (1 - 1e-9)
    assert found.middle >= total * part * (1 - 1e-9)


def test_nothing_to_render_is_finished_at_once_and_no_worker_is_not_known() -> None:
    work = Spread(low=1, middle=1, high=1)
    assert finish(NOTHING, NOTHING, 0, [], 0) == NOTHING
    assert finish(work, work, 0, [], 0) is None


def test_films_with_too_many_segments_together_are_refused(
    small_farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.submission.submit.MOST_SEGMENTS", 5)
    many = campaign(a_film(segments_each=3, tag="a"), a_film(segments_each=3, tag="b"))
    with pytest.raises(InputError, match="more than 5 segments together; submit them in parts"):
        estimate(small_farm, many)
    assert estimate(small_farm, campaign(a_film(segments_each=5))).segments == 5
