"""Placements: whose command lives, which are over, and what is taken over or forgotten."""

from __future__ import annotations

import pytest

from db.engine import Database
from db.workers import placements
from db.workers.placements import Placement, PlacementEnd
from film.types import RunOutcome
from tests.db.farm import Farm

HERE = Placement(flow_run_id="run", run_count=1, owner="here", lease_seconds=60.0)


def changed(**fields: object) -> Placement:
    return HERE.replace(**fields)


def over(farm: Farm) -> list[PlacementEnd]:
    return list(farm.read(placements.over))


def end_of(one: Placement, outcome: RunOutcome | None) -> PlacementEnd:
    return PlacementEnd(flow_run_id=one.flow_run_id, run_count=one.run_count, outcome=outcome)


def test_a_placement_lives_until_it_ends_or_is_silent(database: Database) -> None:
    farm = Farm(database)
    silent = changed(flow_run_id="silent", lease_seconds=-1.0)
    for one in (HERE, silent):
        farm.write(placements.place, one)
    assert over(farm) == [end_of(silent, None)]
    assert farm.write(placements.beat, HERE)
    farm.write(placements.end, HERE, RunOutcome.COMPLETED)
    assert {end.flow_run_id: end.outcome for end in over(farm)} == {
        "run": RunOutcome.COMPLETED,
        "silent": None,
    }
    assert farm.read(placements.owners) == {"here"}


def test_a_run_that_is_begun_again_is_another_command_s(database: Database) -> None:
    farm = Farm(database)
    again = changed(run_count=2, owner="there")
    farm.write(placements.place, HERE)
    farm.write(placements.end, HERE, RunOutcome.CRASHED)
    farm.write(placements.place, again)
    assert over(farm) == []
    assert not farm.write(placements.beat, HERE)
    farm.write(placements.end, HERE, RunOutcome.CRASHED)
    assert over(farm) == []
    farm.write(placements.forget, end_of(HERE, RunOutcome.CRASHED))
    assert farm.write(placements.beat, again)


def test_an_owner_that_is_dead_crashed_unless_it_is_heard_of(database: Database) -> None:
    farm = Farm(database)
    farm.write(placements.place, HERE)
    farm.write(placements.end_owner, "here")
    assert over(farm) == [end_of(HERE, RunOutcome.CRASHED)]
    assert farm.read(placements.owners) == set()
    assert farm.write(placements.beat, HERE)
    assert over(farm) == []


@pytest.mark.parametrize("outcome", [RunOutcome.COMPLETED, RunOutcome.FAILED])
def test_what_ended_stays_as_it_ended_and_is_forgotten(
    database: Database, outcome: RunOutcome
) -> None:
    farm = Farm(database)
    farm.write(placements.place, HERE)
    farm.write(placements.forget, end_of(HERE, None))
    farm.write(placements.end, HERE, outcome)
    farm.write(placements.end_owner, "here")
    assert over(farm) == [end_of(HERE, outcome)], "what lived was not forgotten"
    farm.write(placements.forget, end_of(HERE, outcome))
    assert over(farm) == []
