"""Whatever users, flows and workers do, in whatever order: what must never be so never is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.engine import Database
from db.films import campaigns, film_lease, films, user_actions
from db.segments import segment_lease, takes
from db.segments.claims import Lease
from film.types import FilmStatus
from tests.db.conftest import clear
from tests.db.farm import DELIVERY, LEASE, Farm, a_film, violations

SHAPES = [("a", 1, 3), ("a", 2, 2), ("b", 2, 2), ("c", 1, 1)]
"""Some of them share segments with others."""
STEPS = [
    "submit", "claim", "claim", "claim", "claim", "finish", "finish", "finish", "give up",
    "fail for good", "release", "run out", "reap", "worker dies", "forget", "claim film",
    "deliver", "fail film", "release film", "flow dies", "cancel", "requeue", "requeue", "reopen",
    "pause", "resume",
]  # fmt: skip


class Walk:
    """One walk through the life of a farm. Every lease ever granted is remembered and used again,
    so that most attempts are made by a holder who lost it."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.ids: list[str] = []
        self.leases: list[Lease] = []
        self.films: list[films.Film] = []

    def step(self, name: str, number: int) -> None:
        """Does what `name` names, to the film or lease that `number` picks."""
        farm = self.farm
        if name == "submit" or not self.ids:
            tag, scenes, each = SHAPES[number % len(SHAPES)]
            self.ids += farm.submit(a_film(scenes, each, tag))
        elif name == "claim":
            self.leases += filter(None, [farm.try_claim(f"w{number % 3}")])
        elif name == "claim film":
            self.films += filter(None, [farm.write(film_lease.claim, f"f{number % 2}", LEASE)])
        elif name == "reap":
            farm.write(segment_lease.reap, 2)
        elif name == "worker dies":
            farm.write(segment_lease.release_owner, f"w{number % 3}")
        elif name == "flow dies":
            farm.write(film_lease.release_owner, f"f{number % 2}")
        elif name in ("finish", "give up", "fail for good", "release", "run out"):
            if self.leases:
                self._with_lease(name, self.leases[-1 - number % len(self.leases)])
        elif name in ("deliver", "fail film", "release film"):
            if self.films:
                self._with_film(name, self.films[-1 - number % len(self.films)])
        else:
            self._to_film(name, self.ids[number % len(self.ids)], number)

    def _with_lease(self, name: str, lease: Lease) -> None:
        farm = self.farm
        row = farm.row(lease)
        holds = (row.status, row.attempt, row.owner) == ("leased", lease.attempt, lease.owner)
        if name == "finish":
            # Repeated by the same attempt, because an answer may be lost, it is true again.
            said = row.status == "done" and row.attempt == lease.attempt and not row.reused
            assert farm.finish(lease) == (holds or said)
        elif name in ("give up", "fail for good"):
            permanent = name == "fail for good"
            assert farm.give_up(lease, permanent=permanent, attempts=2) == holds
        elif name == "release":
            assert farm.write(segment_lease.release, lease) == holds
        elif holds:
            farm.run_out(lease)

    def _with_film(self, name: str, film: films.Film) -> None:
        farm = self.farm
        if name == "deliver" and set(farm.statuses(film.id)) == {"done"}:
            farm.write(film_lease.finish, film, DELIVERY)
        elif name == "fail film":
            farm.write(film_lease.fail, film, "broken")
        elif name == "release film":
            farm.write(film_lease.release, film)

    def _to_film(self, name: str, film_id: str, number: int) -> None:
        farm, status = self.farm, self.farm.status(film_id)
        if name == "cancel":
            assert farm.write(user_actions.cancel, film_id) == [film_id] * (not status.final)
        elif name == "requeue":
            expected = status in (FilmStatus.FAILED, FilmStatus.CANCELLED)
            assert farm.write(user_actions.requeue, film_id) == [film_id] * expected
        elif name in ("pause", "resume"):
            change = campaigns.pause if name == "pause" else campaigns.resume
            farm.write(change, film_id.partition("-")[0])
        elif name == "reopen":
            farm.write(user_actions.reopen, film_id)
        elif name == "forget":
            rows = farm.rows(film_id)
            farm.write(takes.forget, rows[number % len(rows)].address)

    def to_the_end(self) -> None:
        """From wherever it is, every film can be delivered."""
        farm = self.farm
        for owner in farm.read(segment_lease.owners):
            farm.write(segment_lease.release_owner, owner)
            farm.write(film_lease.release_owner, owner)
        for film_id in self.ids:
            farm.write(campaigns.resume, film_id.partition("-")[0])
            if "failed" in farm.statuses(film_id):
                farm.write(user_actions.cancel, film_id)
            farm.write(user_actions.requeue, film_id)
        farm.render_all()
        while film := farm.write(film_lease.claim, "last", LEASE):
            farm.read(takes.of_film, film.id)
            assert farm.write(film_lease.finish, film, DELIVERY)
        assert {farm.status(film_id) for film_id in self.ids} <= {FilmStatus.DELIVERED}


@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11)), max_size=40))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False)
def test_what_must_never_be_so_never_is(database: Database, steps: list[tuple[str, int]]) -> None:
    clear(database)
    walk = Walk(Farm(database))
    for name, number in steps:
        walk.step(name, number)
        assert list(violations(database)) == [], name
    walk.to_the_end()
    assert list(violations(database)) == []


@pytest.mark.parametrize(
    "steps",
    [
        # A take is forgotten while what continues it is rendered.
        [("submit", 0), ("claim", 0), ("finish", 0), ("claim", 0), ("forget", 0), ("release", 0)],
        # A film ends, a take of it is forgotten, and it is tried again.
        [("submit", 0), ("claim", 0), ("finish", 0), ("cancel", 0), ("forget", 0), ("requeue", 0)],
        # Another film renders what a cancelled one had left.
        [("submit", 0), ("submit", 0), ("cancel", 0), ("claim", 0), ("finish", 0), ("requeue", 0)],
    ],
)
def test_orders_that_once_went_wrong(database: Database, steps: list[Any]) -> None:
    walk = Walk(Farm(database))
    for name, number in steps:
        walk.step(name, number)
        assert list(violations(database)) == [], name
    walk.to_the_end()
