"""How loud a film is, by EBU R128, and the gain that brings it to the target.

Measure: ITU-R BS.1770-5, EBU Tech 3341. Reasons for the target: docs/decisions/0013-sound.md.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from media.atomic_files import ffmpeg_name
from media.ffmpeg.run import run

TARGET = -16.0
"""LUFS of a whole film."""
CEILING = -2.0
"""dBTP before AAC, which adds up to a decibel to the peaks."""
MOST_GAIN = 20.0
"""Decibels: near silence must not become noise."""

LEAST_PATIENCE = 120.0
"""Seconds that measuring a film may take, however short it is."""
SLOWEST_BYTES_PER_SECOND = 500_000
"""Seconds of the film measured per second; slower than this counts as stalled."""

_NOTHING = -70.0
"""The gate of R128 in LUFS; also the result if nothing got through."""
_TAIL_BYTES = 4096
"""Bytes of the list of measurements: room for the last one, which is of the whole film."""


@dataclass(frozen=True)
class Loudness:
    """What was measured."""

    integrated: float | None
    """LUFS; None if it is silent, or shorter than 0.4 s."""
    true_peak: float | None
    """dB of full scale; None if it is silent."""


def metered(sound: Any, notes: Path) -> Any:
    """The ffmpeg stream `sound`, as it is, whose loudness is listed in `notes` as it goes by."""
    return sound.filter("ebur128", metadata=1, peak="true", framelog="quiet").filter(
        "ametadata", mode="print", file=str(notes.absolute())
    )


def read_notes(notes: Path) -> Loudness:
    """The loudness of all that went by."""
    with notes.open("rb") as file:
        file.seek(-min(_TAIL_BYTES, notes.stat().st_size), 2)
        last = file.read().decode()
    integrated, peak = _last("I", last), _last("true_peak", last)
    return Loudness(
        integrated=integrated if integrated > _NOTHING else None,
        true_peak=round(20 * math.log10(peak), 2) if peak > 0 else None,
    )


def measure(film: Path, folder: Path) -> Loudness:
    """The loudness of a film's sound. `folder` is for a temporary file.

    Raises `MediaError` if its sound cannot be decoded.
    """
    notes = folder / f"{film.name}.loudness"
    try:
        sound = metered(ffmpeg.input(ffmpeg_name(film)).audio, notes)
        nowhere = sound.output("-", format="null")
        patience = LEAST_PATIENCE + film.stat().st_size / SLOWEST_BYTES_PER_SECOND
        run(nowhere, doing=f"measuring the sound of {film.name}", patience=patience)
        return read_notes(notes)
    finally:
        notes.unlink(missing_ok=True)


def gain(loudness: Loudness) -> float:
    """Decibels that bring it to `TARGET`, or as near as peaks and `MOST_GAIN` allow.

    0 or less if nothing is loud enough to be measured.
    """
    wanted = 0.0 if loudness.integrated is None else TARGET - loudness.integrated
    room = math.inf if loudness.true_peak is None else CEILING - loudness.true_peak
    return round(min(wanted, room, MOST_GAIN), 2)


def _last(key: str, text: str) -> float:
    return float(re.findall(rf"^lavfi\.r128\.{key}=(\S+)$", text, re.MULTILINE)[-1])
