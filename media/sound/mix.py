"""The sounds of segments become the sound of a film: no click at a seam, not a sample too many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np

from film.errors import MediaError
from film.timeline import sample_at, sample_runs
from media.atomic_files import ffmpeg_name, replacing
from media.ffmpeg.run import SAME_EVERYWHERE, run
from media.sound.flac import Samples, read_sound, sound_rate
from media.sound.loudness import Loudness, metered, read_notes
from media.verify import SOUND_CHANNELS as CHANNELS
from media.verify import SOUND_RATE as RATE

CROSSFADE = 0.05
"""Seconds: longer than a period of the lowest voice, shorter than a syllable."""
FADE = 0.005
"""Seconds, if there is nothing to fade into."""
MISSING = 0.1
"""Seconds by which a segment's sound may end before its pictures."""

PATIENCE = 120.0
"""Seconds without taking a sample after which ffmpeg counts as stalled."""


@dataclass(frozen=True)
class Piece:
    """The sound of some frames of a film."""

    frames: int
    path: Path | None = None
    """None if it is silent."""
    lead: int = 0
    """Samples in the file before its first frame."""
    continued: bool = False
    """True if it continues the piece before, so that its lead belongs to the end of that one."""


def write_soundtrack(
    pieces: Sequence[Piece], out: Path, *, fps: Fraction, native_fps: Fraction
) -> Loudness | None:
    """Writes the sound of a film of rate `fps` into `out`; returns how loud it is.

    None, and nothing written, if no piece has any. The pieces were made for `native_fps` frames a
    second; if the film has another rate, they last longer or shorter at the same pitch. `out`
    (Wave64, float32, 48 kHz, stereo) has exactly `sample_at(frames, fps, 48000)` samples. Raises
    `MediaError` if a file is not a sound file, is damaged, or has another rate or length, and
    `StoreFullError`.
    """
    rates = {sound_rate(piece.path) for piece in pieces if piece.path}
    if not rates:
        return None
    if len(rates) > 1:
        raise MediaError(f"Cannot join sounds of {sorted(rates)} samples a second.")
    (rate,) = rates
    length = sample_at(sum(piece.frames for piece in pieces), fps, RATE)
    source = ffmpeg.input("pipe:0", format="f32le", ar=rate, ac=CHANNELS)
    stream = _of_length(_stretched(_resampled(source, rate), fps / native_fps), length)
    notes = out.with_name(f"{out.name}.loudness")
    try:
        with replacing(out) as partial:
            options = {"format": "w64", "acodec": "pcm_f32le", "fflags": "+bitexact"}
            graph = metered(stream, notes).output(ffmpeg_name(partial), **options)
            run(
                graph.global_args(*SAME_EVERYWHERE),
                doing=f"joining {len(pieces)} sounds",
                patience=PATIENCE,
                chunks=_bytes(joined(pieces, native_fps, rate)),
            )
        return read_notes(notes)
    finally:
        notes.unlink(missing_ok=True)


def joined(pieces: Sequence[Piece], fps: Fraction, rate: int) -> Iterator[Samples]:
    """The sound of all pieces one after another, in parts of any length.

    Each begins at the sample nearest to its first frame, however many came before. If a piece
    continues the one before, its lead is faded in over the last samples of that one; else both are
    faded to silence within `FADE`.
    """
    counts = sample_runs([piece.frames for piece in pieces], fps, rate)
    before, gap = np.zeros((0, CHANNELS), np.float32), 0
    for piece, count in zip(pieces, counts, strict=True):
        lead, body = _read(piece, count, rate)
        over = min(round(CROSSFADE * rate), len(before), len(lead) - gap)
        if piece.continued and over >= round(FADE * rate):
            bridge = lead[len(lead) - gap - over :]
            yield before[: len(before) - over]
            yield crossfade(before[len(before) - over :], bridge[:over])
            yield bridge[over:]
        else:
            yield _ended(before, rate)
            yield np.zeros((gap, CHANNELS), np.float32)
            body = _ended(body[::-1], rate)[::-1]
        before, gap = body, count - len(body)
    yield _ended(before, rate)
    yield np.zeros((gap, CHANNELS), np.float32)


def crossfade(before: Samples, after: Samples) -> Samples:
    """From `before` into `after`, of equal length, at a power that goes evenly from one's to the
    other's, whatever they have in common: two sounds that are equal stay as they are.

    Gains of equal power (cosine and sine) make what both contain louder in the middle, by up to
    3 dB, so the sum is divided by what its power has too much.
    """
    turn = (np.arange(len(before), dtype=np.float64) + 0.5) / len(before) * (np.pi / 2)
    out, into = np.cos(turn)[:, None], np.sin(turn)[:, None]
    a, b = before.astype(np.float64), after.astype(np.float64)
    wanted = out**2 * np.mean(a**2) + into**2 * np.mean(b**2)
    common = 2 * out * into * max(0.0, float(np.mean(a * b)))
    level = np.sqrt(np.divide(wanted, wanted + common, out=np.ones_like(wanted), where=wanted > 0))
    return np.asarray((out * a + into * b) * level, np.float32)


def _read(piece: Piece, count: int, rate: int) -> tuple[Samples, Samples]:
    """What a piece has before its first frame, and at most `count` samples from there on."""
    if piece.path is None:
        return np.zeros((0, CHANNELS), np.float32), np.zeros((count, CHANNELS), np.float32)
    samples, _ = read_sound(piece.path)
    lead, body = samples[: piece.lead], samples[piece.lead :]
    # A sample more or less comes from rounding.
    if not -MISSING * rate - 1 <= len(body) - count <= 1:
        raise MediaError(
            f"{piece.path.name} has {len(body) / rate:.3f} s of sound for {count / rate:.3f} s."
        )
    return lead, body[:count]


def _ended(samples: Samples, rate: int) -> Samples:
    """`samples` whose end is faded to silence."""
    length = min(round(FADE * rate), len(samples))
    gains = np.ones((len(samples), 1), np.float32)
    ramp = (np.arange(length) + 0.5) / max(length, 1)
    gains[len(samples) - length :, 0] = (1 + np.cos(ramp * np.pi)) / 2
    return samples * gains


def _resampled(stream: Any, rate: int) -> Any:
    return stream if rate == RATE else stream.filter("aresample", RATE)


def _stretched(stream: Any, speed: Fraction) -> Any:
    """`stream` played `speed` times as fast, at the same pitch."""
    for tempo in tempos(speed):
        stream = stream.filter("atempo", f"{tempo:.12f}")
    return stream


def tempos(speed: Fraction) -> list[float]:
    """Steps that together give `speed`, each from 1/2 to 2: beyond, `atempo` leaves out samples."""
    steps = 1
    while not 2**-steps <= speed <= 2**steps:
        steps += 1
    return [] if speed == 1 else [float(speed) ** (1 / steps)] * steps


def _of_length(stream: Any, length: int) -> Any:
    """`stream` cut or filled up with silence: filters are off by some samples."""
    return stream.filter("apad", whole_len=length).filter("atrim", end_sample=length)


def _bytes(parts: Iterable[Samples]) -> Iterator[memoryview]:
    for part in parts:
        if len(part):
            yield np.ascontiguousarray(part, "<f4").data.cast("B")
