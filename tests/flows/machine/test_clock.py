"""Time that leases are counted in."""

from __future__ import annotations

import time

import pytest

from flows.machine.clock import elapsed_seconds


def test_it_goes_on_with_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    first = elapsed_seconds()
    assert elapsed_seconds() >= first
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    assert elapsed_seconds() == 7.0
