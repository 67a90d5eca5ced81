"""The messages in the pipe between a worker and its rendering process."""

from __future__ import annotations

import traceback

from film.errors import LongreelError, OutOfMemoryError
from film.types import RenderJob, Struct
from renderer.out_of_memory import is_out_of_memory
from renderer.protocol import Rendered

JobKey = tuple[int, int]
"""Names a job: id of its segment, and attempt."""


class Ready(Struct, frozen=True, kw_only=True):
    """The model is loaded."""

    load_seconds: float


class Progress(Struct, frozen=True, kw_only=True):
    """A denoising step is done."""

    job: JobKey
    step: int
    """From 1 to `steps`."""
    steps: int


class Pictured(Struct, frozen=True, kw_only=True):
    """The job's pictures are denoised; the next job may come while they are decoded, checked and
    encoded."""

    job: JobKey


class Done(Struct, frozen=True, kw_only=True):
    """The job is done."""

    job: JobKey
    rendered: Rendered


class Failed(Struct, frozen=True, kw_only=True):
    """The job failed, or, if it names none, the loading of the model."""

    job: JobKey | None
    kind: str
    """Name of the error's class in film/errors.py; `RenderError` for anything foreign."""
    message: str
    detail: str
    """The traceback."""


class Logged(Struct, frozen=True, kw_only=True):
    """A log record of the rendering process, to be handled by its parent."""

    job: JobKey | None
    """The job that was being rendered, None between two jobs and while loading."""
    logger: str
    level: int
    message: str
    created: float
    """Seconds since 1970."""
    detail: str
    """The traceback, empty if there is none."""


class Stopped(Struct, frozen=True, kw_only=True):
    """The job was given up, as asked."""

    job: JobKey


JobMessage = Progress | Pictured | Done | Failed | Stopped
Message = Ready | Logged | JobMessage


class Stop(Struct, frozen=True, kw_only=True):
    """An order: give up this job, if you are still rendering it."""

    job: JobKey


def key_of(job: RenderJob) -> JobKey:
    """The name of a job."""
    return job.segment_id, job.attempt


def wanted(job: RenderJob) -> str:
    """What a job needs memory for."""
    return f"for {job.segment.num_frames} frames of {job.rendered_size[0]}x{job.rendered_size[1]}"


def failure(job: JobKey | None, wanted: str, error: Exception) -> Failed:
    """`error` as a message; `wanted` is the purpose of the memory, if memory is what ran out."""
    detail = "".join(traceback.format_exception(error))
    if is_out_of_memory(error) and not isinstance(error, OutOfMemoryError):
        error = OutOfMemoryError(
            f"The worker has too little memory {wanted}; one with more is needed."
        )
    known = isinstance(error, LongreelError)
    return Failed(
        job=job,
        kind=type(error).__name__ if known else "RenderError",
        message=str(error) if known else f"{type(error).__name__}: {error}",
        detail=detail,
    )
