"""What becomes of a segment whose rendering ended with an error: decided here, done elsewhere."""

from __future__ import annotations

from enum import Enum

from film.errors import (
    BadPictureError,
    Cancelled,
    FlagError,
    InputError,
    ObjectMissingError,
    OutOfMemoryError,
    StoreError,
    StoreUnreachableError,
    UnfitWeightsError,
    WeightsMissingError,
)
from film.types import RenderJob

RETAKE_STRIDE = 1_000_003
"""Between the seeds of retakes: a prime, far from the + 1 of the segments that follow in a chain,
so that no two of them begin with the same noise."""
SEEDS = 2**31


class Verdict(Enum):
    """What to do with the segment."""

    GIVE_BACK = "give back"
    """Ready again at once; nothing is wrong with it."""
    WAIT = "wait"
    """Ready again, and this worker pauses: a part that everyone needs is away."""
    TRY_AGAIN = "try again"
    """Counts as a failure; ready again until its attempts are used up."""
    LEAVE_TO_OTHERS = "leave to others"
    """The same, and this worker takes none of its kind for a while: others may have the memory,
    the weights, or what a flag needs."""
    FAIL = "fail"
    """Failed at once: no attempt can succeed."""


def verdict(error: Exception) -> Verdict:
    """What `error` means for the segment that it ended."""
    if isinstance(error, Cancelled | ObjectMissingError):
        # Stopped by us, or what it continues is rendered again first.
        return Verdict.GIVE_BACK
    if isinstance(error, StoreUnreachableError):
        return Verdict.WAIT
    if isinstance(error, OutOfMemoryError | WeightsMissingError | FlagError):
        return Verdict.LEAVE_TO_OTHERS
    if isinstance(error, InputError | UnfitWeightsError | BadPictureError):
        # The same input is as bad again; for a picture, retakes were tried.
        return Verdict.FAIL
    return Verdict.TRY_AGAIN


def blames_worker(error: Exception) -> bool:
    """Whether several such errors, of different segments, say that the worker is broken."""
    if verdict(error) not in (Verdict.TRY_AGAIN, Verdict.FAIL):
        return False
    return not isinstance(error, InputError | UnfitWeightsError | StoreError)


def retake(job: RenderJob, number: int) -> RenderJob:
    """The job with the seed of its `number`-th retake; the 0th is the job itself."""
    seed = (job.seed + number * RETAKE_STRIDE) % SEEDS
    return job.replace(seed=seed)
