"""What a worker claims: by models, weights, tags and campaigns; what it skips and avoids."""

from __future__ import annotations

import pytest

from db.segments.claims import Lease
from film.errors import DatabaseError
from flows.worker import claimer as module
from flows.worker.claimer import Claimer
from tests.db.farm import a_film
from tests.fakes import FakeInventory
from tests.flows.worker.conftest import Bench


def claim(bench: Bench, claimer: Claimer | None = None) -> Lease:
    """The next segment, which there must be."""
    lease = (claimer or bench.claimer).claim(None)
    assert lease is not None
    return lease


def test_it_claims_for_the_process_that_it_belongs_to(bench: Bench) -> None:
    bench.submit()
    lease = claim(bench)
    assert lease.owner == bench.farm.owner
    assert (lease.position, lease.attempt) == (0, 1)
    assert bench.claimer.claim(None) is None


@pytest.mark.parametrize(
    "inventory",
    [FakeInventory(models=("wan2.1-t2v-1.3b",)), FakeInventory(weights=("demo@r2",))],
    ids=["another model", "another revision"],
)
def test_it_claims_nothing_without_the_weights(bench: Bench, inventory: FakeInventory) -> None:
    bench.submit()
    assert Claimer(bench.farm, bench.me, inventory).claim(None) is None


def test_weights_that_come_later_count(bench: Bench) -> None:
    bench.submit()
    bench.inventory.weights = ()
    assert bench.claimer.claim(None) is None
    bench.inventory.weights = ("demo@r1",)
    claim(bench)


def test_it_claims_what_its_tags_allow(bench: Bench) -> None:
    bench.submit(a_film(segments_each=1, needs="big"))
    assert bench.claimer.claim(None) is None
    claim(bench, Claimer(bench.farm, bench.me.replace(tags=("big", "fast")), bench.inventory))


def test_it_claims_from_its_campaigns_only(bench: Bench) -> None:
    (first,) = bench.submit(a_film(segments_each=1, tag="x"))
    (second,) = bench.submit(a_film(segments_each=1, tag="y"))
    campaign = second.rpartition("-")[0]
    only = Claimer(bench.farm, bench.me, bench.inventory, [campaign])
    assert claim(bench, only).film_id == second
    assert only.claim(None) is None
    assert claim(bench).film_id == first


def test_what_it_failed_at_comes_after_everything_else(bench: Bench) -> None:
    bench.submit(a_film(scenes=2, segments_each=1))
    first = claim(bench)
    assert bench.claimer.count_failure(first) == 1
    bench.rows.give_up(first)
    assert claim(bench).position == 1
    assert claim(bench).position == 0, "nothing else is left"


def test_failures_are_counted_by_segment(bench: Bench) -> None:
    bench.submit(a_film(scenes=2, segments_each=1))
    first, second = claim(bench), claim(bench)
    counts = [bench.claimer.count_failure(lease) for lease in (first, first, second)]
    assert counts == [1, 1, 2]
    bench.claimer.forgive()
    assert bench.claimer.count_failure(second) == 1


def test_a_kind_is_skipped_for_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.submit()
    kind = claim(bench).kind
    bench.submit(a_film(segments_each=1, tag="y"))
    bench.claimer.skip(kind)
    assert bench.claimer.claim(None) is None
    monkeypatch.setattr(module, "SKIP_SECONDS", -1.0)
    bench.claimer.skip(kind)
    claim(bench)


def test_a_longer_pause_is_not_cut_by_a_shorter_one(bench: Bench) -> None:
    assert not bench.claimer.paused
    bench.claimer.pause(60)
    bench.claimer.pause(-1)
    assert bench.claimer.paused


def test_a_lease_is_released_later_once(bench: Bench) -> None:
    (film,) = bench.submit()
    lease = claim(bench)
    assert not bench.claimer.has_unreleased
    bench.claimer.release_later(lease)
    bench.database.failing = 1
    with pytest.raises(DatabaseError):
        bench.claimer.release_lost([])
    assert bench.statuses(film) == ["leased"]
    assert bench.claimer.has_unreleased
    bench.claimer.release_lost([])
    assert not bench.claimer.has_unreleased
    again = claim(bench)
    assert again.attempt == 2
    bench.claimer.release_lost([])
    assert bench.statuses(film) == ["leased"], "the new attempt is not released"


def test_a_claim_whose_answer_was_lost_is_given_back_and_nothing_else(bench: Bench) -> None:
    (film,) = bench.submit(a_film(scenes=3, segments_each=1))
    held = claim(bench)
    foreign = bench.rows.claim("another worker")
    bench.database.unanswered = 1
    with pytest.raises(DatabaseError):
        bench.claimer.claim(None)
    assert bench.statuses(film) == ["leased"] * 3
    assert bench.claimer.has_unreleased
    bench.claimer.release_lost([held])
    assert not bench.claimer.has_unreleased
    rows = bench.rows.rows(film)
    assert [row.status for row in rows].count("ready") == 1
    assert {row.failures for row in rows} == {0}
    assert {held.position, foreign.position} == {
        row.position for row in rows if row.status == "leased"
    }
