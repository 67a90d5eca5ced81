"""The sound of a segment as a file: FLAC of 24 bits, the same samples out as in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from film.errors import MediaError
from media.atomic_files import ffmpeg_name, replacing
from media.decode import decoded, opened
from media.encode import STALL_SECONDS
from media.ffmpeg.run import BITEXACT_SOUND, run

Samples = NDArray[np.float32]
"""Sound: `(samples, channels)`, -1 to 1."""

FEWEST = 16
"""Samples; FLAC holds no fewer."""

FULL = 2**23
"""Full scale of 24 bits, which is also the precision of a float32."""


def write_sound(
    samples: Samples, path: Path, *, rate: int, stall_seconds: float = STALL_SECONDS
) -> None:
    """Writes `(samples, 1 or 2 channels) float32`, `rate` samples a second, rounded to 24 bits.

    Values beyond full scale are clipped. The same samples give the same bytes. `path` exists only
    when it is whole. Raises `MediaError` if there are fewer than `FEWEST` samples or some are not
    finite, or ffmpeg fails or stalls, `StoreFullError` if the disk is full.
    """
    if samples.ndim != 2 or len(samples) < FEWEST or samples.shape[1] not in (1, 2):
        raise MediaError(
            f"Sound must be ({FEWEST} or more samples, 1 or 2 channels), not {samples.shape}."
        )
    if not np.isfinite(samples).all():
        raise MediaError(f"The sound for {path.name} is not finite.")
    whole = np.clip(np.rint(samples.astype(np.float64) * FULL), -FULL, FULL - 1)
    words = np.ascontiguousarray(whole.astype("<i4") << 8)
    source = ffmpeg.input("pipe:0", format="s32le", ar=rate, ac=samples.shape[1])
    with replacing(path) as partial:
        graph = source.output(
            ffmpeg_name(partial),
            format="flac",
            acodec="flac",
            sample_fmt="s32",
            bits_per_raw_sample=24,
            **BITEXACT_SOUND,
        )
        run(
            graph,
            doing=f"writing {path.name}",
            patience=stall_seconds,
            chunks=[words.data.cast("B")],
        )


def read_sound(path: Path) -> tuple[Samples, int]:
    """The samples of such a file, `(samples, 2) float32`, and the samples per second.

    One channel is returned as two equal ones. Raises `MediaError` if `path` is not such a file, or
    is damaged or cut off.
    """
    with opened(path, "sound") as container:
        stream = container.streams.audio[0]
        rate, length = stream.codec_context.sample_rate, stream.duration
        words = np.concatenate([np.zeros((0, 2), np.int32), *_words(container, path)])
    # The header has the length: a file that is cut off between two frames decodes without error.
    if len(words) != length:
        raise MediaError(f"{path} is cut off: it has {len(words)} of {length} samples of sound.")
    return (words >> 8).astype(np.float32) / np.float32(FULL), rate


def sound_rate(path: Path) -> int:
    """Samples per second of a sound file. Raises `MediaError` if it is not one."""
    with opened(path, "sound") as container:
        return int(container.streams.audio[0].codec_context.sample_rate)


def _words(container: Any, path: Path) -> Iterator[NDArray[np.int32]]:
    for frame in decoded(container, path, "sound"):
        if frame.format.name != "s32":
            raise MediaError(f"{path} is not a Longreel sound file: expected 24-bit FLAC.")
        words = frame.to_ndarray().reshape(frame.samples, -1)
        yield words if words.shape[1] == 2 else np.repeat(words, 2, axis=1)
