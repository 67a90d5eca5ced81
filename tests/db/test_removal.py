"""Removing films, and what is in the store for whom."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db.engine import Database
from db.films import campaigns, film_lease, listing, removal, usage, user_actions
from db.segments import segment_lease, takes
from db.tables import metadata
from db.tables import takes as take_table
from film.errors import InputError, NotFoundError
from film.types import FilmStatus
from tests.db.farm import DELIVERY, Farm, a_film, take_of, violations


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def delivered(farm: Farm, key: str = "films/x.mp4") -> None:
    """Renders what there is and delivers one film under this key."""
    farm.render_all()
    film = farm.claim_film()
    assert farm.write(film_lease.finish, film, DELIVERY.replace(key=key))


def counts(farm: Farm) -> dict[str, int]:
    with farm.database.read() as connection:
        names = ("campaigns", "kinds", "films", "segments", "events", "takes")
        return {
            name: connection.execute(
                sa.select(sa.func.count()).select_from(metadata.tables[name])
            ).scalar_one()
            for name in names
        }


def test_a_removed_campaign_leaves_its_takes_only(farm: Farm) -> None:
    (film,) = farm.submit(a_film())
    delivered(farm)
    campaign = farm.read(campaigns.of, film).id
    removed = farm.write(removal.remove, campaign)
    assert (removed.film_ids, removed.keys) == ((film,), ("films/x.mp4",))
    left = counts(farm)
    assert left.pop("takes") == 3
    assert set(left.values()) == {0}
    with pytest.raises(NotFoundError):
        farm.read(campaigns.of, campaign)


def test_a_film_that_is_not_finished_is_not_removed_nor_its_campaign(farm: Farm) -> None:
    first, second = farm.submit(a_film(tag="x"), a_film(tag="y"))
    campaign = farm.read(campaigns.of, first).id
    before = counts(farm)
    with pytest.raises(InputError, match=f"2 films of {campaign} are not finished; `longreel can"):
        farm.write(removal.remove, campaign)
    farm.write(user_actions.cancel, first)
    for name in (campaign, second):
        with pytest.raises(InputError, match=f"{second} is not finished; `longreel cancel"):
            farm.write(removal.remove, name)
    assert counts(farm)["films"] == before["films"]
    assert farm.write(removal.remove, first).film_ids == (first,)
    assert [row.id for row in farm.read(listing.films_of)] == [second]
    assert list(violations(farm.database)) == []


def test_a_file_that_another_film_was_delivered_as_stays(farm: Farm) -> None:
    (first,) = farm.submit(a_film())
    delivered(farm)
    (second,) = farm.submit(a_film())
    delivered(farm)
    assert farm.write(removal.remove, first).keys == ()
    assert farm.write(removal.remove, second).keys == ("films/x.mp4",)


def test_takes_are_needed_by_the_films_that_have_them(farm: Farm) -> None:
    first, _ = farm.submit(a_film(tag="x", segments_each=2), a_film(tag="y", segments_each=1))
    farm.render_all()
    mine = {row.address for row in farm.rows(first)}
    all_of_them = addresses(farm)
    assert farm.read(takes.unneeded, all_of_them, finished_seconds=0.0) == set()
    farm.write(user_actions.cancel, first)
    assert farm.read(takes.unneeded, all_of_them) == set()
    assert farm.read(takes.unneeded, all_of_them, finished_seconds=0.0) == mine
    farm.write(removal.remove, first)
    assert farm.read(takes.unneeded, all_of_them) == mine
    some = next(iter(mine))
    made = take_of(some)
    assert farm.read(takes.rendered, [some, "0" * 64]) == {some}
    assert farm.read(takes.recorded_keys, [some]) == {made.video_key, made.tail_key}
    farm.write(takes.remove, mine)
    assert addresses(farm) == all_of_them - mine


def addresses(farm: Farm) -> set[str]:
    with farm.database.read() as connection:
        return set(connection.execute(sa.select(take_table.c.address)).scalars())


def test_a_film_whose_take_was_removed_meanwhile_renders_it_again(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=3))
    farm.render_all()
    first, second, third = (row.address for row in farm.rows(film))
    farm.write(takes.require, first)
    assert farm.statuses(film) == ["done"] * 3
    farm.write(takes.remove, [second])
    farm.write(takes.require, second)
    assert farm.statuses(film) == ["done", "ready", "done"]
    assert farm.rows(film)[2].address == third
    assert farm.render_all() == 1


def test_usage_counts_films_and_takes_of_each_campaign(farm: Farm) -> None:
    (first,) = farm.submit(a_film(segments_each=2))
    delivered(farm)
    (second,) = farm.submit(a_film(segments_each=3))
    farm.render_all()
    rows = {row.campaign: row for row in farm.read(usage.of_campaigns)}
    one, two = (rows[farm.read(campaigns.of, film).id] for film in (first, second))
    assert (one.films, one.films_bytes, one.takes, one.takes_bytes) == (1, 5000, 2, 2000)
    assert (two.films, two.films_bytes, two.takes, two.takes_bytes) == (0, 0, 3, 3000)
    assert farm.read(usage.of_takes) == 3000


def test_usage_counts_films_of_more_than_two_gibibytes(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1))
    lease = farm.claim()
    take = take_of(farm.row(lease).address).replace(size_bytes=3 * 2**30)
    assert farm.write(segment_lease.finish, lease, take)
    assert farm.write(film_lease.finish, farm.claim_film(), DELIVERY.replace(size_bytes=5 * 2**30))
    (row,) = farm.read(usage.of_campaigns)
    assert (row.films_bytes, row.takes_bytes) == (5 * 2**30, 3 * 2**30)
    assert farm.read(usage.of_takes) == 3 * 2**30


def test_films_are_found_by_status_and_text(farm: Farm) -> None:
    ids = farm.submit(*(a_film(tag=tag) for tag in ("Dawn", "dusk", "100%")))
    farm.write(user_actions.cancel, ids[1])

    def found(**wanted: object) -> list[str]:
        return [row.id for row in farm.read(listing.find_films, **wanted)]

    assert found() == ids
    assert found(statuses=[FilmStatus.CANCELLED]) == [ids[1]]
    assert found(statuses=[FilmStatus.WAITING]) == [ids[0], ids[2]]  # no worker is running
    assert found(statuses=[FilmStatus.QUEUED]) == []
    assert found(statuses=[FilmStatus.WAITING, FilmStatus.CANCELLED], limit=2) == ids[:2]
    assert found(text="D") == ids[:2]
    assert found(text="dAWN") == [ids[0]]
    assert found(text="%") == [ids[2]]
    assert found(text="campaign c1") == ids
    assert found(text="dusk", statuses=[FilmStatus.WAITING]) == []
    farm.claim()
    rendering = found(statuses=[FilmStatus.RENDERING])
    assert len(rendering) == 1


def test_campaigns_are_listed_with_their_films(farm: Farm) -> None:
    first, _ = farm.submit(a_film(tag="x"), a_film(tag="y"))
    farm.write(user_actions.cancel, first)
    (later,) = farm.submit(a_film(tag="z"))
    rows = farm.read(campaigns.newest)
    assert [row.id for row in rows] == ["c2", "c1"]
    assert [row.id for row in farm.read(campaigns.newest, 1)] == ["c2"]
    found = farm.read(listing.campaign_films, ["c1", "c2"])
    assert (found["c1"].total, found["c1"].finished, found["c1"].delivered) == (2, 1, 0)
    assert (found["c2"].total, found["c2"].finished) == (1, 0)
    assert later.startswith("c2")


def test_pictures_and_loras_of_films_are_needed(farm: Farm) -> None:
    digest = "ab" * 32
    farm.submit(a_film().replace(image=digest))
    with farm.database.read(streaming=True) as connection:
        assert digest in removal.uploads_needed(connection)
