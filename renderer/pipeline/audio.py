"""The sound that a pipeline makes with its pictures, trimmed to the frames that are kept."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from film.errors import BadPictureError, RenderError
from film.models import ModelSpec
from film.timeline import sample_at
from film.types import RenderJob
from media.sound.flac import FEWEST
from renderer.protocol import Sound

LEAD = Fraction(1, 5)
"""Longest sound to the echoed frames that is kept, in seconds: what a crossfade needs if the sound
before it ends as early as `SLACK` allows."""

SLACK = Fraction(1, 10)
"""Seconds by which sound may be shorter or longer than its pictures. LTX-2 makes it in steps of
40 ms and leaves out the last 30, so that it ends 10 to 50 ms before the picture does."""


def made(spec: ModelSpec, pipeline: Any, output: Any) -> Sound | None:
    """The sound in a pipeline's output; None if the model creates none.

    Raises `RenderError` if there should be one and is not.
    """
    if not spec.sound:
        return None
    audio = getattr(output, "audio", None)
    if audio is None:
        raise RenderError(
            f"The model {spec.name!r} returned no sound, although its row promises it."
        )
    # The spectrogram has another rate; the one of the samples is the vocoder's.
    rate = int(pipeline.vocoder.config.output_sampling_rate)
    return Sound(audio[0].float().cpu().numpy().T, rate)


def kept(spec: ModelSpec, job: RenderJob, sound: Sound | None) -> Sound | None:
    """`sound` cut as the pictures are: without the echoed overlap, except for a lead that a
    crossfade can use, and without the part after the kept frames.

    It is shorter than the pictures if the model's is. Raises `BadPictureError` if it is not finite,
    `RenderError` if it is missing or has the wrong length.
    """
    if sound is None or job.segment.keep_frames == 0:
        return None
    _require_whole(spec, job, sound)
    if not bool(np.isfinite(sound.samples).all()):
        raise BadPictureError(
            f"The model {job.settings.model!r} returned sound that is not finite for seed "
            f"{job.segment.seed}."
        )
    echo = job.segment.overlap_frames if spec.echoes else 0
    start = sample_at(echo, spec.native_fps, sound.rate)
    stop = sample_at(echo + job.segment.keep_frames, spec.native_fps, sound.rate)
    lead = min(start, int(LEAD * sound.rate))
    samples = np.ascontiguousarray(np.clip(sound.samples[start - lead : stop], -1, 1))
    if len(samples) < lead + FEWEST:
        return None  # for a last frame or two, for which the model created nothing any more
    return Sound(samples, sound.rate, lead)


def _require_whole(spec: ModelSpec, job: RenderJob, sound: Sound) -> None:
    count, channels = sound.samples.shape
    if channels not in (1, 2):
        raise RenderError(
            f"The model {job.settings.model!r} returned sound of {channels} channels; films take 1 "
            f"or 2."
        )
    wanted = sample_at(job.segment.num_frames, spec.native_fps, sound.rate)
    if abs(count - wanted) > SLACK * sound.rate:
        raise RenderError(
            f"The model {job.settings.model!r} gave {count / sound.rate:.2f} s of sound to "
            f"{wanted / sound.rate:.2f} s of pictures; its row's native_fps, or its vocoder's "
            f"output_sampling_rate, must be wrong."
        )
