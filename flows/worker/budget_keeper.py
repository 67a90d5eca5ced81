"""Holds campaigns whose budget, or whose key's daily GPU time, is used."""

from __future__ import annotations

import logging

from db import budgets
from flows.farm import Farm
from flows.periodic import Periodic

logger = logging.getLogger(__name__)


def keeping_budgets(farm: Farm) -> Periodic:
    """Checks budgets and quotas in a thread; of all workers, one checks a campaign at a time."""

    def check() -> None:
        with farm.database.write() as connection:
            changed = budgets.check(connection)
        for campaign_id, verdict in changed:
            held = verdict.held.value if verdict.held else "not held"
            logger.info("The campaign %s is %s by its budget", campaign_id, held)

    return Periodic("The budget keeper", budgets.CHECK_SECONDS, check)
