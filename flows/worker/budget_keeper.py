"""Holds campaigns whose budget, or whose key's daily GPU time, is used."""

from __future__ import annotations

import logging

from db import budgets
from db.budgets import Verdict
from flows.farm import Farm
from flows.periodic import Periodic

logger = logging.getLogger(__name__)


def keeping_budgets(farm: Farm) -> Periodic:
    """Checks budgets and quotas in a thread; of all workers, one checks a campaign at a time."""

    def check() -> None:
        with farm.database.write() as connection:
            changed = budgets.check(connection)
        for campaign_id, verdict in changed:
            if verdict.cancelled:
                with farm.database.write() as connection:
                    budgets.cancel(connection, campaign_id)
            logger.info("The campaign %s: %s", campaign_id, _said(verdict))

    return Periodic("The budget keeper", budgets.CHECK_SECONDS, check)


def _said(verdict: Verdict) -> str:
    if verdict.cancelled:
        return "cancelled, because its budget is used"
    if verdict.held:
        return f"held, because its {verdict.held} is used"
    return "near its budget" if verdict.warned else "dispatched again"
