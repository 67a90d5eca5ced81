"""Signals: what was ignored when a command began stays ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from app.cli.output import stopped_by_signals

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_the_command(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), stopped_by_signals() as asked:
        signal.raise_signal(number)
    assert asked.is_set()
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals) -> None:
    """As nohup, and a script that starts the command in the background, set it."""
    signal.signal(number, signal.SIG_IGN)
    with stopped_by_signals() as asked:
        signal.raise_signal(number)
    assert not asked.is_set()
    assert signal.getsignal(number) is signal.SIG_IGN
