"""A campaign survives the death of every part, bit for bit."""

from __future__ import annotations

import pytest

from tests.chaos.run import chaos

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1500)
def test_a_campaign_is_the_same_although_every_part_is_killed() -> None:
    """The short form of `make chaos`; it takes longer if the machine is busy."""
    report = chaos(seed=1, count=16, films=10, workers=3, lease_seconds=6)
    print(report.table())
    assert not report.violations
    assert sum(report.hits.values()) == 16
