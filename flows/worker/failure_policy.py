"""What happens to a segment whose rendering ended with an error. Decided here, done elsewhere."""

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
    StoreFullError,
    StoreUnreachableError,
    UnfitWeightsError,
    UnreadableFilmError,
    WeightsMissingError,
)
from media.atomic_files import NO_SPACE

RETAKE_STRIDE = 1_000_003
"""Difference between the seeds of retakes: a prime, far from the + 1 of the segments that follow in
a chain, so that no two of them start from the same noise."""
SEEDS = 2**31


class Verdict(Enum):
    """What to do with the segment."""

    GIVE_BACK = "give back"
    """Ready again at once; nothing is wrong with it."""
    WAIT = "wait"
    """Ready again, and this worker pauses: a part that it needs is away or full, or the film is
    for workers of another version."""
    TRY_AGAIN = "try again"
    """Counts as a failure. Ready again until its attempts are used up."""
    LEAVE_TO_OTHERS = "leave to others"
    """Counts as a failure, and this worker skips work of its kind for a while: other workers may
    have the memory, the weights, or what a flag requires."""
    FAIL = "fail"
    """Failed at once: no attempt can succeed."""


def verdict(error: Exception) -> Verdict:
    """The verdict on a segment that ended with `error`."""
    if isinstance(error, Cancelled | ObjectMissingError):
        # This process stopped it, or the segment that it continues is rendered again first.
        return Verdict.GIVE_BACK
    if isinstance(error, StoreUnreachableError | StoreFullError | UnreadableFilmError):
        return Verdict.WAIT
    if _is_disk_full(error):
        return Verdict.WAIT
    if isinstance(error, OutOfMemoryError | WeightsMissingError | FlagError):
        return Verdict.LEAVE_TO_OTHERS
    if isinstance(error, InputError | UnfitWeightsError | BadPictureError):
        # The same input fails again; for a bad picture, retakes were tried.
        return Verdict.FAIL
    return Verdict.TRY_AGAIN


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in NO_SPACE


def blames_worker(error: Exception) -> bool:
    """True if several such errors, of different segments, mean that the worker is broken."""
    if verdict(error) not in (Verdict.TRY_AGAIN, Verdict.FAIL):
        return False
    return not isinstance(error, InputError | UnfitWeightsError | StoreError)


def retake_seed(seed: int, number: int) -> int:
    """The seed of the `number`-th retake of a segment that was planned with `seed`."""
    return (seed + number * RETAKE_STRIDE) % SEEDS
