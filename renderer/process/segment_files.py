"""One segment, from a job to files: given pictures, rendered, checked, encoded."""

from __future__ import annotations

import logging
import os
import resource
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from film.errors import BadPictureError
from film.types import RenderJob
from media.encode import encode_segment
from media.sound.flac import write_sound
from media.tail import read_tail, write_tail
from media.user_images import fitted_picture
from media.verify import picture_problem
from renderer.protocol import Footage, Frames, OnStep, Rendered, Renderer, RenderInputs, Sound

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """The pictures that a segment is rendered from."""

    chain: Frames | None
    """The tail that it continues from, all of it; None after a cut."""
    first: Frames | None
    """What it begins with: the end of `chain`, or one picture."""
    last: Frames | None
    """The one that it ends with."""


@dataclass(frozen=True)
class Pictures:
    """A job's frames and sound, neither checked nor encoded, and perhaps still being decoded."""

    job: RenderJob
    given: Given
    footage: Future[Footage]


def start(renderer: Renderer, job: RenderJob, on_step: OnStep) -> Pictures:
    """The pictures of `job`, once the next one may be started. Raises `RenderError`, `MediaError`,
    or what `on_step` raises."""
    given = _given(job)
    return Pictures(job, given, renderer.start(job, RenderInputs(given.first, on_step, given.last)))


def encode(pictures: Pictures, scratch: Path) -> Rendered:
    """Writes the frames, their tail and sound into files in `scratch`.

    Raises `MediaError`, `RenderError`.
    """
    job, footage = pictures.job, pictures.footage.result()
    frames, sound = footage.frames, footage.sound
    began = time.perf_counter()
    problem = picture_problem(frames)
    if problem:
        raise BadPictureError(f"Seed {job.segment.seed} gave a picture that is {problem}.")
    video, tail = scratch / "video.mp4", scratch / "tail.mkv"
    with ThreadPoolExecutor(1) as beside:  # two ffmpeg processes at the same time
        written = beside.submit(write_tail, _tail(pictures, frames), tail, fps=job.fps)
        contents = encode_segment(frames, video, fps=job.fps, size=job.film_size)
        written.result()
    sound_path = _written(sound, scratch / "sound.flac") if sound else None
    encode_seconds = round(time.perf_counter() - began, 4)
    logger.info("Checked and encoded %d frames in %.2f s", len(frames), encode_seconds)
    peak = {"encode_seconds": encode_seconds, "peak_memory_bytes": _peak_memory()}
    return Rendered(
        video_path=str(video),
        tail_path=str(tail),
        num_frames=len(frames),
        contents=contents,
        made_by={**footage.made_by, **peak},
        sound_path=sound_path,
        sound_lead=sound.lead if sound else 0,
    )


def _written(sound: Sound, path: Path) -> str:
    write_sound(sound.samples, path, rate=sound.rate)
    return str(path)


def _given(job: RenderJob) -> Given:
    """Reads what the job names. Raises `MediaError`."""
    tail = None if job.files.tail is None else read_tail(Path(job.files.tail))
    if tail is not None and job.segment.keyframe is not None:
        begin, end = (tail[n : n + 1] for n in (job.segment.keyframe, job.segment.keyframe + 1))
        return Given(begin if job.segment.overlap_frames else None, begin, end)
    first = (
        tail[-job.segment.overlap_frames :] if tail is not None else _picture(job, job.files.image)
    )
    return Given(tail, first, _picture(job, job.files.last_image))


def _picture(job: RenderJob, path: str | None) -> Frames | None:
    """A picture that the user gave, as one frame of the size that is rendered."""
    return (
        None
        if path is None
        else fitted_picture(Path(path), job.rendered_size[0], job.rendered_size[1])[None]
    )


def _tail(pictures: Pictures, frames: Frames) -> Frames:
    """The frames that condition what follows; a short segment adds from what came before it.

    Of an anchor its keyframes: at the ends the pictures that it was given, as they are.
    """
    import numpy as np

    job, given = pictures.job, pictures.given
    if job.segment.keyframes:
        kept = frames[list(job.segment.keyframes)]
        if given.first is not None:
            kept[0] = given.first[-1]
        if given.last is not None:
            kept[-1] = given.last[-1]
        return kept
    chain = frames if given.chain is None else np.concatenate([given.chain, frames])
    return chain[-job.tail_frames :]


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024
