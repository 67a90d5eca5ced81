"""Values as users write them: each is read, or refused with what was expected."""

from __future__ import annotations

import re
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from film.plain_text import one_line
from film.types import Continuity, OverBudget, Seam, parse_fraction

MAX_FPS = 120
MAX_SECONDS = 365 * 24 * 3600
"""Keeps the arithmetic of lengths in bounds; how long films may be is a setting."""


def read_text(value: Any) -> str:
    """Text without surrounding space; a number is taken as its digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"expected text, got {short(value)}")
    text = str(value).strip()
    if "\0" in text:
        raise ValueError("the text holds a NUL character; remove it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the text holds half a character (a lone surrogate); remove it")
    return text


def read_flag(value: Any) -> bool:
    """`true` or `false`, also as text (a CSV file has nothing else), and `yes` or `no`."""
    flags = {"true": True, "yes": True, "false": False, "no": False}
    try:
        return flags[str(value).strip().lower()]
    except KeyError:
        raise ValueError(f"expected true or false, got {short(value)}") from None


def read_size(value: Any) -> tuple[int, int]:
    """`96x64` into width and height in pixels."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*[x×X*]\s*(\d{1,5})\s*", str(value))
    if not match:
        raise ValueError(f"expected WIDTHxHEIGHT such as 96x64, got {short(value)}")
    return int(match[1]), int(match[2])


def read_seconds(value: Any) -> Fraction:
    """A length above zero, in seconds."""
    seconds = parse_fraction(value)
    if not 0 < seconds <= MAX_SECONDS or seconds.denominator > 10**400:
        raise ValueError(f"expected seconds above 0 and below a year, got {short(value)}")
    return seconds


def read_fps(value: Any) -> Fraction:
    """A rate between 1 and `MAX_FPS` frames a second, exact."""
    fps = parse_fraction(value)
    if not 1 <= fps <= MAX_FPS or fps.denominator > 1001:
        raise ValueError(f"expected 1 to {MAX_FPS} frames a second, got {short(value)}")
    return fps


def read_integer(value: Any) -> int:
    """A whole number below 2^31, also from its digits."""
    number = _whole(value)
    if abs(number) >= 2**31:
        raise ValueError(f"expected a whole number below {2**31}, got {short(value)}")
    return number


def _whole(value: Any) -> int:
    try:
        number = parse_fraction(value)
    except ValueError:
        number = Fraction(1, 2)
    if number.denominator != 1:
        raise ValueError(f"expected a whole number, got {short(value)}")
    return int(number)


MAX_SEED = 2**31 - 1
MAX_TITLE = 500
"""Longest title in characters."""


def read_seed(value: Any) -> int:
    """A seed from 0 to `MAX_SEED`."""
    seed = _whole(value)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"expected a seed from 0 to {MAX_SEED}, got {short(value)}")
    return seed


def read_title(value: Any) -> str:
    """Text in one line, at most `MAX_TITLE` characters."""
    title = one_line(read_text(value))
    if len(title) > MAX_TITLE:
        raise ValueError(f"expected at most {MAX_TITLE} characters, got {len(title)}")
    return title


def read_steps(value: Any) -> int:
    """Inference steps from 1 to 1000."""
    steps = read_integer(value)
    if not 1 <= steps <= 1000:
        raise ValueError(f"expected 1 to 1000 steps, got {steps}")
    return steps


def read_guidance(value: Any) -> float:
    """A guidance scale from 0 to 100; 1 means none."""
    scale = parse_fraction(value)
    if not 0 <= scale <= 100:
        raise ValueError(f"expected a guidance scale of 0 to 100, got {short(value)}")
    return float(scale)


def read_tags(value: Any) -> tuple[str, ...]:
    """Tags from a list, or from a text with commas or spaces between; sorted."""
    written = (
        value if isinstance(value, list) else re.split(r"[,\s]+", read_text(value).strip(", "))
    )
    tags = [tag for tag in map(read_text, written) if tag]
    for tag in tags:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,31}", tag, re.ASCII):
            raise ValueError(f"expected tags of letters, digits, . _ and -, got {short(tag)}")
    return tuple(sorted(set(tags)))


def read_deadline(value: Any) -> float:
    """A date, or a date with a time, as seconds since 1970; local time if no zone is given."""
    try:
        text = value.isoformat() if isinstance(value, date) else read_text(value)
        when = datetime.fromisoformat(text)
        if len(text) <= len("2026-11-30"):
            when = when.replace(hour=23, minute=59, second=59)
        return when.timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"expected a date such as 2026-11-30 18:00, got {short(value)}") from None


def read_count(value: Any) -> int:
    """A whole number, 1 or more."""
    number = read_integer(value)
    if number < 1:
        raise ValueError(f"expected 1 or more, got {number}")
    return number


def read_workers(value: Any) -> int:
    """A number of workers, 1 or more."""
    number = read_integer(value)
    if number < 1:
        raise ValueError(f"expected 1 worker or more, got {number}")
    return number


_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 24 * 3600.0}
_GPU_TIME = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,6}})?)\s*({'|'.join(_UNITS)})", re.ASCII)


def read_gpu_time(value: Any) -> float:
    """GPU time above zero in seconds: a number of them, or a text such as `90min`, `10h`, `2d`."""
    match = _GPU_TIME.fullmatch(str(value).strip().lower()) if type(value) is not bool else None
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise ValueError(f"expected GPU time such as 90min, 10h or 2d, got {short(value)}")
    return seconds


_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15}
_SIZE = re.compile(rf"(\d{{1,15}}(?:\.\d{{1,6}})?)\s*({'|'.join(_BYTES)})", re.ASCII)


def read_size_bytes(value: Any) -> int:
    """A size above zero in bytes: a number of them, or a text such as `500MB`, `2TB`."""
    match = _SIZE.fullmatch(str(value).strip().lower()) if type(value) is not bool else None
    found = round(float(match[1]) * _BYTES[match[2]]) if match else 0
    if not 0 < found < 2**63:
        raise ValueError(f"expected a size such as 500MB or 2TB, got {short(value)}")
    return found


def read_over_budget(value: Any) -> OverBudget:
    """`warn`, `stop` or `cancel`."""
    try:
        return OverBudget(str(value).strip().lower())
    except ValueError:
        raise ValueError(f"expected warn, stop or cancel, got {short(value)}") from None


def read_seam(value: Any) -> Seam:
    """`cut` or `continue`."""
    try:
        return Seam(str(value).strip().lower())
    except ValueError:
        raise ValueError(f"expected cut or continue, got {short(value)}") from None


def read_continuity(value: Any) -> Continuity:
    """One of the strategies, by its name."""
    try:
        return Continuity(read_text(value).lower().replace("-", "_"))
    except ValueError:
        names = ", ".join(Continuity)
        raise ValueError(f"expected one of {names}, got {short(value)}") from None


def short(value: Any) -> str:
    """`value` as a message shows it."""
    try:
        text = repr(value)
    except ValueError:
        return "a number with thousands of digits"
    except RecursionError:
        return "something that contains itself"
    return text if len(text) <= 60 else text[:57] + "…"
