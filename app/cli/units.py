"""Durations, sizes and places in a film, as people read them."""

from __future__ import annotations

_SIZES = ("bytes", "kB", "MB", "GB", "TB", "PB")


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def age(seconds: float) -> str:
    """How long ago something was, in one unit: `40 s`, `12 min`, `3 h`, `2 d`."""
    return " ".join(duration(seconds).split()[:2])


def size(size_bytes: int) -> str:
    """`0 bytes`, `38 kB`, `1.2 MB`, `340 GB`: decimal units, as disks are sold."""
    value = float(size_bytes)
    unit = 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return (
        f"{value:.1f} {_SIZES[unit]}"
        if 0 < value < 9.95 and unit > 1
        else (f"{value:.0f} {_SIZES[unit]}")
    )


def length(seconds: float) -> str:
    """The length of a film: `0:18`, `12:05`, `1:02:00`."""
    return _clock(round(seconds), "")


def timecode(seconds: float) -> str:
    """A place in a film, to a tenth of a second: `0:16.9`."""
    tenths = round(seconds * 10)
    return _clock(tenths // 10, f".{tenths % 10}")


def _clock(whole: int, rest: str) -> str:
    hours, seconds = divmod(whole, 3600)
    minutes, seconds = divmod(seconds, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{seconds:02}{rest}"
