"""Fixtures of Prefect as an operator has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Installation
from tests.flows.placing import Prefect


@pytest.fixture
def prefect(served: Installation) -> Iterator[Prefect]:
    """Prefect's commands for the installation; the workers that they start end with the test."""
    more = {
        "PREFECT_HOME": str(served.home / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "300",
    }
    served.environment.update(more)
    prefect = Prefect(served)
    yield prefect
    prefect.end()


@pytest.fixture
def pool(prefect: Prefect) -> None:
    """A process pool with a worker of Prefect's on this machine, and the deployment for it."""
    prefect.make_pool()
    prefect.start_worker()
