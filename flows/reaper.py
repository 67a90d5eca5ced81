"""Takes back, again and again, what dead workers held."""

from __future__ import annotations

from contextlib import suppress

from db import segments
from flows import owner
from flows.background import Background
from flows.task_runs import TaskRuns
from flows.wiring import Farm

REAP_SECONDS = 5.0
"""Pause between two looks for leases that ran out, or whose owner is dead."""


class Reaper(Background):
    """While the block lasts, the leases of the dead are taken back, whoever they were."""

    def __init__(self, farm: Farm, task_runs: TaskRuns) -> None:
        super().__init__("reaper")
        self._farm = farm
        self._task_runs = task_runs

    def _keep(self) -> None:
        while True:
            with suppress(Exception):  # looked at again in a moment
                self._reap()
            if self._over.wait(REAP_SECONDS):
                return

    def _reap(self) -> None:
        for flow_run_id in owner.release_dead(self._farm.database):
            self._task_runs.orphaned(flow_run_id)
        attempts = self._farm.settings.segment_attempts
        with self._farm.database.write() as connection:
            segments.reap(connection, attempts, but_of=self._farm.owner)
