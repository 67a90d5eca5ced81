"""Budgets of campaigns, quotas of keys, and what attempts use."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from db import api_keys, budgets, quotas, spending
from db.budgets import Budgeted, judge
from db.engine import Database
from db.films import campaigns, listing, removal, user_actions, videos
from db.quotas import Limits
from db.segments import segment_lease
from db.tables import campaigns as campaign_table
from db.tables import renders
from db.tables import segments as segment_table
from film.errors import QuotaError
from film.types import FilmStatus, Hold, OverBudget
from tests.db.farm import Farm, a_film, planned_as, take_of

ONE_TAKE = 1.5
"""GPU-seconds of a take of the tests."""


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def check(farm: Farm) -> list[str]:
    """Checks all budgets as if the last check was long ago; the campaigns that changed."""
    with farm.database.write() as connection:
        connection.execute(campaign_table.update().values(checked_at=None))
        changed = budgets.check(connection)
    for name, verdict in changed:
        if verdict.cancelled:
            farm.write(budgets.cancel, name)
    return [name for name, _ in changed]


def key(farm: Farm, limits: Limits = Limits()) -> str:  # noqa: B008
    text = farm.write(api_keys.create, "k", [api_keys.Scope.SUBMIT], limits=limits)
    return str(text.split("_")[1])


def used(farm: Farm, campaign_id: str) -> float:
    return float(farm.read(spending.of_campaigns, [campaign_id])[campaign_id])


def test_takes_and_lost_attempts_are_counted_and_stay_when_films_go(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=3))
    assert used(farm, "c1") == 0
    farm.finish(farm.claim())
    assert used(farm, "c1") == pytest.approx(ONE_TAKE)
    lease = farm.claim()
    assert farm.write(segment_lease.beat, lease, 60.0, 0.5)
    with farm.database.write() as connection:
        connection.execute(
            segment_table.update()
            .where(segment_table.c.id == lease.id)
            .values(started_at=segment_table.c.started_at - 100)
        )
    assert farm.give_up(lease)
    assert used(farm, "c1") == pytest.approx(ONE_TAKE + 100, abs=5)
    farm.write(user_actions.cancel, film)
    farm.write(removal.remove, film)
    assert used(farm, "c1") == pytest.approx(ONE_TAKE + 100, abs=5)


def test_what_was_claimed_but_not_begun_costs_nothing(farm: Farm) -> None:
    farm.submit(a_film())
    lease = farm.claim()
    assert farm.write(segment_lease.release, lease)
    assert used(farm, "c1") == 0


def test_gpus_that_render_together_all_count(farm: Farm) -> None:
    farm.submit(a_film())
    lease = farm.claim()
    take = take_of(farm.row(lease).address)
    together = take.replace(made_by={**take.made_by, "rendered_together": 4})
    assert farm.write(segment_lease.finish, lease, together)
    assert used(farm, "c1") == pytest.approx(4 * ONE_TAKE)


def test_a_campaign_over_its_budget_is_held_until_it_gets_more(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=6), budget_seconds=3 * ONE_TAKE)
    farm.finish(farm.claim())
    assert check(farm) == []
    farm.finish(farm.claim())
    running = farm.claim()
    assert check(farm) == ["c1"], "what is being rendered is expected to use the rest"
    assert farm.try_claim() is None
    assert farm.finish(running), "it is finished and kept"
    assert farm.try_claim() is None
    (row,) = farm.read(listing.films_of, film)
    assert row.status is FilmStatus.WAITING
    assert "budget of its campaign is used" in row.waiting
    assert farm.kinds(film).count("budget") == 1
    assert check(farm) == [], "said once"
    farm.write(budgets.set_budget, "c1", 100.0)
    assert farm.claim()
    assert check(farm) == []
    assert farm.read(campaigns.get, "c1").held is None


def test_a_warning_is_recorded_once_and_changes_nothing(farm: Farm) -> None:
    (film,) = farm.submit(a_film(), budget_seconds=ONE_TAKE, over_budget=OverBudget.WARN)
    farm.finish(farm.claim())
    assert check(farm) == ["c1"]
    assert check(farm) == []
    assert farm.kinds(film).count("budget") == 1
    assert farm.claim()


def test_a_campaign_may_be_cancelled_by_its_budget(farm: Farm) -> None:
    (film,) = farm.submit(a_film(), budget_seconds=ONE_TAKE, over_budget=OverBudget.CANCEL)
    running = farm.claim()
    check(farm)
    assert farm.status(film) is not FilmStatus.CANCELLED, "nothing is used yet"
    assert farm.finish(running)
    assert check(farm) == ["c1"]
    assert farm.status(film) is FilmStatus.CANCELLED
    assert farm.kinds(film)[-1] == "cancelled"


def test_a_budget_is_checked_by_one_process_at_a_time(farm: Farm) -> None:
    farm.submit(a_film(), budget_seconds=ONE_TAKE)
    farm.finish(farm.claim())
    assert [name for name, _ in farm.write(budgets.check)] == ["c1"]
    farm.write(budgets.set_budget, "c1", 0.1)
    assert farm.write(budgets.check), "a new budget is looked at at once"
    assert farm.write(budgets.check) == []


def test_a_key_over_its_daily_gpu_time_is_held_and_continues_the_next_day(farm: Farm) -> None:
    name = key(farm, Limits(gpu_seconds_a_day=ONE_TAKE))
    farm.submit(a_film(), key_id=name)
    farm.submit(a_film(tag="y"), key_id=name)
    (other,) = farm.submit(a_film(tag="z"))
    farm.finish(farm.claim())
    assert sorted(check(farm)) == ["c1", "c2"], "all campaigns of the key"
    assert farm.claim().film_id == other
    assert farm.try_claim() is None
    with farm.database.write() as connection:
        connection.execute(renders.update().values(at=renders.c.at - spending.DAY_SECONDS))
    assert sorted(check(farm)) == ["c1", "c2"]
    assert farm.claim().campaign_id in ("c1", "c2")


def test_quotas_refuse_films_with_what_to_do(farm: Farm) -> None:
    name = key(farm, Limits(films_at_once=2))
    farm.write(quotas.require, name, 2)
    with pytest.raises(QuotaError, match="may have 2 unfinished films at once, and these are 3"):
        farm.write(quotas.require, name, 3)
    farm.submit(a_film(), key_id=name)
    with pytest.raises(QuotaError, match="cancel them"):
        farm.write(quotas.require, name, 2)
    farm.render_all()
    farm.deliver()
    farm.write(quotas.require, name, 2)
    found = farm.read(quotas.used_by, name)
    assert (found.open_films, found.stored_bytes) == (0, 5000)
    assert found.gpu_seconds_today == pytest.approx(3 * ONE_TAKE)
    for limits, said in (
        (Limits(stored_bytes=5000), "remove some first"),
        (Limits(gpu_seconds_a_day=4.0), "submit again later"),
    ):
        farm.write(api_keys.set_limits, name, limits)
        with pytest.raises(QuotaError, match=said):
            farm.write(quotas.require, name, 1)
    farm.write(api_keys.set_limits, name, Limits())
    farm.write(quotas.require, name, 1000)


def test_submissions_of_a_limited_key_wait_for_one_another(farm: Farm) -> None:
    name = key(farm, Limits(films_at_once=1))
    outcomes = []

    def submit() -> None:
        try:
            with farm.database.write() as connection:
                quotas.lock(connection, name)
                quotas.require(connection, name, 1)
                campaign_id = f"x{threading.get_ident() % 10**9}"
                campaigns.insert_campaign(connection, campaign_id, "x", key_id=name)
                request = a_film(tag=campaign_id)
                campaigns.insert_films(connection, campaign_id, [(request, planned_as(request))])
            outcomes.append("submitted")
        except QuotaError:
            outcomes.append("refused")

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 3 + ["submitted"]


def test_a_use_is_noted_although_the_key_is_locked(farm: Farm) -> None:
    name = key(farm, Limits(films_at_once=1))
    with farm.database.read() as connection:
        row = api_keys.get(connection, name)
    with farm.database.write() as connection:
        quotas.lock(connection, name)
        if connection.dialect.name == "postgresql":
            farm.write(api_keys.note_use, row)
    farm.write(api_keys.note_use, row)
    assert farm.read(api_keys.get, name).used_at is not None


def test_two_of_the_same_request_wait_for_one_another(farm: Farm) -> None:
    with farm.database.write() as connection:
        videos.lock(connection, "key", None)
        videos.lock(connection, "key", "k")


def test_films_that_are_queued_again_count(farm: Farm) -> None:
    name = key(farm, Limits(films_at_once=1))
    (first,) = farm.submit(a_film(), key_id=name)
    farm.write(user_actions.cancel, first)
    (second,) = farm.submit(a_film(tag="y"), key_id=name)
    with pytest.raises(QuotaError, match="with these, it would have 2"):
        farm.write(user_actions.requeue, first)
    assert farm.status(first) is FilmStatus.CANCELLED, "nothing was changed"
    farm.write(user_actions.cancel, second)
    assert farm.write(user_actions.requeue, first) == [first]


def test_users_share_the_farm_before_their_campaigns_do(farm: Farm) -> None:
    mine, yours = key(farm), key(farm)
    for number in range(4):
        farm.submit(a_film(scenes=20, segments_each=1, tag=f"m{number}"), key_id=mine)
    farm.submit(a_film(scenes=20, segments_each=1, tag="y"), key_id=yours)
    by_user = [farm.claim(f"w{number}").campaign_id for number in range(10)]
    assert by_user.count("c5") == 5, "half of the workers, although the other has four campaigns"
    assert sorted(by_user.count(f"c{number}") for number in range(1, 5)) == [1, 1, 1, 2]


def test_users_take_turns_at_one_worker(farm: Farm) -> None:
    mine, yours = key(farm), key(farm)
    for number in range(3):
        farm.submit(a_film(scenes=9, segments_each=1, tag=f"m{number}"), key_id=mine)
    farm.submit(a_film(scenes=9, segments_each=1, tag="y"), key_id=yours)
    turns = []
    for _ in range(8):
        lease = farm.claim()
        turns.append(lease.campaign_id == "c4")
        with farm.database.write() as connection:  # times of one second would be the same
            connection.execute(
                campaign_table.update().values(served_at=campaign_table.c.served_at - 1)
            )
        farm.finish(lease)
    assert turns.count(True) == 4


def test_sizes_beyond_32_bits_are_summed(farm: Farm) -> None:
    name = key(farm)
    farm.submit(a_film(), key_id=name)
    farm.render_all()
    film = farm.deliver()
    from db.films import usage
    from db.tables import films

    with farm.database.write() as connection:
        big = {"size_bytes": 5_000_000_000}
        connection.execute(films.update().where(films.c.id == film.id).values(delivery=big))
    assert farm.read(quotas.used_by, name).stored_bytes == 5_000_000_000
    (row,) = farm.read(usage.of_campaigns)
    assert row.films_bytes == 5_000_000_000


@given(
    budget=st.none() | st.floats(0.1, 1e6),
    over=st.none() | st.sampled_from(OverBudget),
    used=st.floats(0, 2e6),
    expected=st.floats(0, 1e5),
    quota=st.none() | st.floats(0.1, 1e6),
    of_key=st.floats(0, 2e6),
)
def test_verdicts(
    budget: float | None,
    over: OverBudget | None,
    used: float,
    expected: float,
    quota: float | None,
    of_key: float,
) -> None:
    campaign = Budgeted(
        id="c",
        key_id=None,
        budget_seconds=budget,
        over_budget=over,
        budget_warned_at=None,
        held=None,
    )
    verdict = judge(campaign, used, expected, quota, of_key)
    spent = budget is not None and used + expected >= budget
    assert (verdict.held is Hold.BUDGET) == (spent and over is not OverBudget.WARN)
    if verdict.cancelled:
        assert over is OverBudget.CANCEL
        assert budget is not None
        assert used >= budget
    if verdict.held is Hold.QUOTA:
        assert quota is not None
        assert of_key >= quota
    if budget is not None and used >= budget:
        assert verdict.warned


def test_no_budget_and_no_quota_hold_nothing(farm: Farm) -> None:
    farm.submit(a_film())
    farm.finish(farm.claim())
    assert check(farm) == []
    with farm.database.read() as connection:
        checked = sa.select(campaign_table.c.checked_at)
        assert connection.execute(checked).scalar() is None
