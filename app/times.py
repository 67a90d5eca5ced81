"""Moments as users write them: how long ago, a date, a time, or seconds since 1970."""

from __future__ import annotations

import math
import re
import time
from datetime import datetime

from film.errors import InputError

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 24 * 3600.0}
"""Seconds of each unit of a duration."""
_DURATION = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(UNITS)})", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(\.\d+)?", re.ASCII)
_DATE = len("2026-11-30")


def duration_of(text: str) -> float | None:
    """Seconds of a duration such as `90s`, `10min`, `12h` or `7d`; None if it is not one."""
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * UNITS[match[2]] if match else math.inf
    return seconds if math.isfinite(seconds) else None


def read_moment(name: str, text: str, *, whole_day: bool = False) -> float:
    """Seconds since 1970 of `7d` (ago), `2026-11-30`, `2026-11-30 18:00` or a number of seconds.

    Local time if no zone is given; a date means its first second, or with `whole_day` its last.
    Raises `InputError` naming the option.
    """
    text = text.strip()
    ago = duration_of(text)
    if ago is not None:
        return max(0.0, time.time() - ago)
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        when = datetime.fromisoformat(text)
        if whole_day and len(text) <= _DATE:
            when = when.replace(hour=23, minute=59, second=59, microsecond=999_999)
        return max(0.0, when.timestamp())
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{name}: expected a time such as 2026-11-30, 2026-11-30 18:00, 12h or 7d (ago), got "
            f"{text[:60]!r}"
        ) from None
