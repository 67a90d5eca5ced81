"""Budgets are checked while a worker runs, and what is done about them is logged."""

from __future__ import annotations

import logging

import pytest

from db.films import campaigns
from flows.farm import Farm
from flows.worker.budget_keeper import keeping_budgets
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film


def test_a_campaign_over_its_budget_is_held_and_that_is_logged(
    small_farm: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Rows(small_farm.database)
    rows.submit(a_film(), budget_seconds=1.0)
    rows.finish(rows.claim())
    caplog.set_level(logging.INFO)
    keeper = keeping_budgets(small_farm)
    assert keeper.call()
    held = rows.read(campaigns.get, "c1").held
    assert held == "budget"
    assert "The campaign c1: held, because its budget is used" in caplog.text
    assert rows.try_claim() is None
    assert keeper.call(), "nothing is due, which is no failure"


def test_a_database_that_is_away_is_tried_again(
    small_farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: object) -> None:
        raise OSError("away")

    keeper = keeping_budgets(small_farm)
    with monkeypatch.context() as patch:
        patch.setattr("db.budgets.check", fail)
        assert not keeper.call()
        assert keeper.failures == 1
    assert keeper.call()
    assert keeper.failures == 0
