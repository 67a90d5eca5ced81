"""Whose turn it is: fair share, priority, deadlines, caps, tags, pauses, and what is warm."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from db.engine import Database
from db.films import campaigns, film_lease, films, user_actions
from db.segments import fair_share, work_kinds
from db.tables import LEASED, segments
from tests.db.conftest import clear
from tests.db.farm import LEASE, Farm, a_film

DEMO = "demo 96x64x17"


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def turns(farm: Farm, count: int) -> list[str]:
    """The campaigns that one worker renders for, one segment after another."""
    taken = []
    for _ in range(count):
        lease = farm.claim()
        taken.append(lease.campaign_id)
        farm.finish(lease)
    return taken


def running(database: Database, campaign_id: str) -> int:
    """Segments of a campaign that are leased."""
    query = sa.select(sa.func.count()).where(LEASED, segments.c.campaign_id == campaign_id)
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


# -- fair share --------------------------------------------------------------------------------


def test_campaigns_of_equal_priority_take_turns_on_one_worker(farm: Farm) -> None:
    farm.submit(a_film(scenes=50, segments_each=1, tag="a"))
    farm.submit(a_film(scenes=3, segments_each=1, tag="b"))
    assert turns(farm, 8) == ["c1", "c2", "c1", "c2", "c1", "c2", "c1", "c1"]


def test_4_workers_are_shared_by_2_campaigns(farm: Farm) -> None:
    farm.submit(a_film(scenes=50, segments_each=1, tag="a"))
    farm.submit(a_film(scenes=50, segments_each=1, tag="b"))
    leases = [farm.claim(f"w{number}") for number in range(4)]
    assert sorted(lease.campaign_id for lease in leases) == ["c1", "c1", "c2", "c2"]
    farm.finish(next(lease for lease in leases if lease.campaign_id == "c2"))
    assert farm.claim().campaign_id == "c2"


def test_a_campaign_that_comes_later_has_its_turn_soon(farm: Farm) -> None:
    farm.submit(a_film(scenes=50, segments_each=1, tag="a"))
    turns(farm, 5)
    farm.submit(a_film(scenes=3, segments_each=1, tag="b"))
    assert turns(farm, 4) == ["c1", "c2", "c1", "c2"]


# -- priority and deadlines --------------------------------------------------------------------


def test_a_priority_that_is_changed_counts_from_the_next_claim(farm: Farm) -> None:
    farm.submit(a_film(scenes=9, segments_each=1, tag="a"), priority=1)
    farm.submit(a_film(scenes=9, segments_each=1, tag="b"))
    assert turns(farm, 2) == ["c1", "c1"]
    farm.write(campaigns.set_priority, "c2", 2)
    assert turns(farm, 2) == ["c2", "c2"]
    farm.write(campaigns.set_priority, "c2", 0)
    assert turns(farm, 2) == ["c1", "c1"]
    assert farm.claim_film().campaign == "c1"


def test_among_equals_the_nearest_deadline_is_first(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1, tag="a"))
    farm.submit(a_film(segments_each=1, tag="b"), deadline=2e9)
    farm.submit(a_film(segments_each=1, tag="c"), deadline=1e9)
    farm.submit(a_film(segments_each=1, tag="d"), deadline=3e9, priority=1)
    assert turns(farm, 4) == ["c4", "c3", "c2", "c1"]


# -- caps --------------------------------------------------------------------------------------


def test_a_campaign_has_no_more_workers_than_its_cap(farm: Farm) -> None:
    farm.submit(a_film(scenes=9, segments_each=1, tag="a"), max_workers=2, priority=1)
    farm.submit(a_film(scenes=9, segments_each=1, tag="b"))
    leases = [farm.claim(f"w{number}") for number in range(4)]
    assert [lease.campaign_id for lease in leases] == ["c1", "c1", "c2", "c2"]
    farm.finish(leases[0])
    assert farm.claim().campaign_id == "c1"


def test_a_cap_holds_however_many_claim_at_once(farm: Farm, database: Database) -> None:
    farm.submit(a_film(scenes=60, segments_each=1, tag="a"), max_workers=3)
    most: list[int] = []
    errors: list[Exception] = []
    left = threading.Semaphore(60)

    def work(owner: str) -> None:
        try:
            while left.acquire(blocking=False):
                while (lease := farm.try_claim(owner)) is None:
                    time.sleep(0.001)
                most.append(running(database, "c1"))
                farm.finish(lease)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert 1 <= max(most) <= 3


# -- what a worker can do, and likes -----------------------------------------------------------


def test_films_go_to_workers_that_have_all_their_tags(farm: Farm) -> None:
    farm.submit(
        a_film(segments_each=1, tag="a", needs="big fast"),
        a_film(segments_each=1, tag="b", needs="big"),
        a_film(segments_each=1, tag="c"),
    )
    assert farm.claim().film_id == "c1-3"
    assert farm.try_claim(tags=frozenset({"fast"})) is None
    assert farm.claim(tags=frozenset({"big", "other"})).film_id == "c1-2"
    lease = farm.claim(tags=frozenset({"fast", "big"}))
    assert (lease.film_id, lease.kind) == ("c1-1", f"{DEMO} +big +fast")


def test_a_worker_stays_with_the_kind_it_has_warm(farm: Farm) -> None:
    names = ["", "x", "", "x"]
    farm.submit(*(a_film(segments_each=1, tag=f"{n}", needs=x) for n, x in enumerate(names)))
    able = {"tags": frozenset({"x"})}
    assert farm.claim(**able, warm=f"{DEMO} +x").film_id == "c1-2"
    assert farm.claim(**able, warm=DEMO).film_id == "c1-1"
    assert farm.claim(**able, warm=DEMO).film_id == "c1-3"
    assert farm.claim(**able, warm=DEMO).film_id == "c1-4"


def test_what_is_warm_does_not_come_before_whose_turn_it_is(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1, tag="a"), priority=1)
    farm.submit(a_film(segments_each=1, tag="b", needs="x"))
    lease = farm.claim(tags=frozenset({"x"}), warm=f"{DEMO} +x")
    assert lease.campaign_id == "c1"


def test_the_kinds_that_are_still_wanted_are_known(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1, tag="a", needs="x"), a_film(segments_each=2, tag="b"))
    farm.finish(farm.claim(tags=frozenset({"x"}), warm=f"{DEMO} +x"))
    (kind,) = farm.read(work_kinds.still_wanted, "c1")
    assert (kind.name, kind.model, kind.shape, kind.tags) == (DEMO, "demo", "96x64x17", ())
    assert farm.read(work_kinds.still_wanted, "c1", "c1-1") == []
    assert farm.read(work_kinds.still_wanted, "c1", "c1-2") == [kind]


# -- pauses ------------------------------------------------------------------------------------


def test_a_paused_campaign_gets_nothing_until_it_is_resumed(farm: Farm) -> None:
    farm.submit(a_film(scenes=2, segments_each=2, tag="a"), a_film(segments_each=1, tag="b"))
    film, lease = farm.claim_film(), farm.claim()
    assert farm.write(campaigns.pause, "c1")
    assert not farm.write(campaigns.pause, "c1")
    assert farm.try_claim() is None
    assert farm.write(film_lease.claim, "flow", LEASE) is None
    assert not farm.write(film_lease.beat, film, LEASE)
    assert not farm.read(films.any_open)
    assert farm.finish(lease), "what was being rendered is kept"
    assert farm.statuses("c1-1") == ["done", "ready", "ready", "waiting"]
    assert [farm.status(one) for one in ("c1-1", "c1-2")] == ["paused", "paused"]
    assert farm.write(campaigns.resume, "c1")
    assert not farm.write(campaigns.resume, "c1")
    assert [farm.status(one) for one in ("c1-1", "c1-2")] == ["queued", "queued"]
    assert farm.kinds("c1-2") == ["queued", "paused", "queued"]
    assert farm.render_all() == 4


def test_a_film_that_is_queued_again_in_a_paused_campaign_waits_too(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1, tag="a"), a_film(segments_each=1, tag="b"))
    farm.write(user_actions.cancel, "c1-1")
    farm.write(campaigns.pause, "c1")
    assert farm.write(user_actions.requeue, "c1-1") == ["c1-1"]
    assert farm.status("c1-1") == "paused"
    assert farm.try_claim() is None
    farm.write(campaigns.resume, "c1")
    assert farm.render_all() == 2


def test_a_campaign_at_its_end_is_not_paused(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1))
    farm.write(user_actions.cancel, "c1")
    assert not farm.write(campaigns.pause, "c1")
    assert farm.read(campaigns.of, "c1").paused_at is None


# -- finished campaigns ------------------------------------------------------------------------


def test_a_campaign_is_active_until_its_last_film_is_at_its_end(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1, tag="a"), a_film(segments_each=1, tag="b"))
    farm.write(user_actions.cancel, "c1-1")
    assert farm.read(campaigns.of, "c1").active
    farm.render_all()
    farm.deliver()
    assert not farm.read(campaigns.of, "c1").active
    farm.write(user_actions.requeue, "c1")
    assert farm.read(campaigns.of, "c1-1").active
    assert farm.render_all() == 1


def test_films_that_end_at_once_leave_no_campaign_active(farm: Farm, database: Database) -> None:
    farm.submit(*(a_film(segments_each=1, tag=f"f{number}") for number in range(24)))
    farm.render_all()
    errors: list[Exception] = []

    def run(owner: str) -> None:
        try:
            while film := farm.write(film_lease.claim, owner, LEASE):
                farm.write(film_lease.fail, film, "no")
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f"w{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not farm.read(campaigns.of, "c1").active


def test_a_whole_campaign_is_cancelled_and_queued_again(farm: Farm) -> None:
    farm.submit(*(a_film(segments_each=2, tag=f"f{number}") for number in range(3)), priority=1)
    farm.submit(a_film(tag="other"))
    farm.finish(farm.claim())
    lease = farm.claim()
    assert farm.write(user_actions.cancel, "c1") == ["c1-1", "c1-2", "c1-3"]
    assert not farm.finish(lease)
    assert farm.statuses("c2-1") == ["ready", "waiting", "waiting"]
    assert farm.write(user_actions.requeue, "c1", failed_only=True) == []
    assert sorted(farm.write(user_actions.requeue, "c1")) == ["c1-1", "c1-2", "c1-3"]
    assert farm.statuses("c1-1") == ["done", "ready"]


def test_only_failed_films_are_queued_again_where_that_is_asked(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1, tag="a"), a_film(segments_each=1, tag="b"))
    farm.write(user_actions.cancel, "c1-2")
    farm.write(film_lease.fail, farm.claim_film(), "broken")
    assert farm.write(user_actions.requeue, "c1", failed_only=True) == ["c1-1"]
    assert farm.status("c1-2") == "cancelled"


@pytest.mark.slow
def test_a_campaign_that_a_lost_machine_holds_delays_no_other_one(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is locked for as long as PostgreSQL takes to notice."""
    monkeypatch.setattr(fair_share, "_LOCK_TIMEOUT", sa.text("SET LOCAL lock_timeout = '100ms'"))
    clear(postgres_database)
    farm = Farm(postgres_database)
    farm.submit(a_film(segments_each=1, tag="a"), max_workers=2, priority=1)
    (other,) = farm.submit(a_film(segments_each=1, tag="b"))
    with postgres_database.write() as held:
        held.execute(sa.text("SELECT * FROM campaigns WHERE priority = 1 FOR UPDATE"))
        assert farm.claim("worker").film_id == other
    assert farm.claim("worker").film_id != other, "it is free again"
