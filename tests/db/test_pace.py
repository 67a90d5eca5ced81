"""How long is left: the pace of a kind, and of films and campaigns that are rendered."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db.engine import Database
from db.films import listing
from db.segments import pace, segment_lease
from db.segments.claims import Lease
from db.tables import segments
from tests.db.farm import LEASE, Farm, a_film

KIND = "demo 96x64x17"


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def render(farm: Farm, seconds: float, owner: str = "worker") -> Lease:
    """Renders the next segment in this time."""
    lease = farm.claim(owner)
    began(farm, lease, seconds)
    assert farm.finish(lease)
    return lease


def began(farm: Farm, lease: Lease, seconds: float) -> None:
    """The lease was claimed this many seconds ago."""
    with farm.database.write() as connection:
        connection.execute(
            segments.update()
            .where(segments.c.id == lease.id)
            .values(started_at=segments.c.started_at - seconds)
        )


def left(farm: Farm, film_id: str) -> float | None:
    (row,) = farm.read(listing.films_of, film_id)
    return row.seconds_left  # type: ignore[no-any-return]


def test_a_film_takes_its_segments_at_the_pace_of_the_latest(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=5))
    assert left(farm, film) is None
    for seconds in (100, 10, 20):  # the first one loaded the model
        render(farm, seconds)
    assert left(farm, film) is None  # nobody renders it in this moment
    lease = farm.claim()
    assert left(farm, film) == pytest.approx(2 * 20, abs=1)
    farm.write(segment_lease.beat, lease, LEASE, 0.5)
    assert left(farm, film) == pytest.approx(1.5 * 20, abs=1)


def test_before_any_is_done_the_one_that_is_rendered_tells_the_pace(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=3))
    lease = farm.claim()
    began(farm, lease, 30)
    assert left(farm, film) is None
    farm.write(segment_lease.beat, lease, LEASE, 0.5)
    assert left(farm, film) == pytest.approx(2.5 * 60, abs=3)


def test_workers_that_render_a_film_share_what_is_left(farm: Farm) -> None:
    (film,) = farm.submit(a_film(scenes=3, segments_each=2))
    render(farm, 10)
    farm.claim("a")
    farm.claim("a")  # claimed ahead: still one worker
    assert left(farm, film) == pytest.approx(5 * 10, abs=1)
    farm.claim("b")
    assert left(farm, film) == pytest.approx(5 * 10 / 2, abs=1)


def test_takes_that_were_there_say_nothing_of_the_pace(farm: Farm) -> None:
    (first,) = farm.submit(a_film(segments_each=2))
    render(farm, 10)
    render(farm, 10)
    (again,) = farm.submit(a_film(segments_each=3))
    rows = farm.rows(again)
    assert [row.reused for row in rows] == [True, True, False]
    farm.claim()
    assert left(farm, again) == pytest.approx(10, abs=1)
    assert left(farm, first) is None


def test_a_campaign_takes_what_all_its_films_take(farm: Farm) -> None:
    first, _ = farm.submit(a_film(tag="x", segments_each=2), a_film(tag="y", segments_each=2))
    (row,) = farm.read(listing.films_of, first)
    assert farm.read(listing.tally, row.campaign).seconds_left is None
    render(farm, 10)
    farm.claim("a")
    assert farm.read(listing.tally, row.campaign).seconds_left == pytest.approx(30, abs=1)


def test_the_latest_of_a_kind_are_found_by_an_index(farm: Farm) -> None:
    farm.submit(a_film(segments_each=2))
    for seconds in (10, 30):
        render(farm, seconds)
    paces = farm.read(pace.of_kinds, [KIND, "wan 832x480x81"])
    assert paces == {KIND: pytest.approx(20, abs=1)}
    if farm.database.url.startswith("sqlite"):
        with farm.database.read() as connection:
            text = str(pace._LATEST.compile(compile_kwargs={"literal_binds": False}))
            plan = connection.execute(
                sa.text(f"EXPLAIN QUERY PLAN {text}"), {"of_kind": KIND, "param_1": 20}
            ).all()
        assert "ix_segments_pace" in str(plan)
