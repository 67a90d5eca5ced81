"""What becomes of a segment whose rendering ended with an error: decided here, done elsewhere."""

from __future__ import annotations

from enum import Enum

from film.errors import (
    BadPictureError,
    Cancelled,
    InputError,
    ObjectMissingError,
    StoreUnreachableError,
)


class Verdict(Enum):
    """What to do with the segment."""

    GIVE_BACK = "give back"
    """Ready again at once; nothing is wrong with it."""
    WAIT = "wait"
    """Ready again, and this worker pauses: a part that everyone needs is away."""
    TRY_AGAIN = "try again"
    """Counts as a failure; ready again until its attempts are used up."""
    FAIL = "fail"
    """Failed at once: no attempt can succeed."""


def verdict(error: Exception) -> Verdict:
    """What `error` means for the segment that it ended."""
    if isinstance(error, Cancelled | ObjectMissingError):
        # Stopped by us, or what it continues is rendered again first.
        return Verdict.GIVE_BACK
    if isinstance(error, StoreUnreachableError):
        return Verdict.WAIT
    if isinstance(error, InputError | BadPictureError):
        # The same seed gives the same picture again.
        return Verdict.FAIL
    return Verdict.TRY_AGAIN
