"""Every error Longreel raises on purpose, as one tree.

::

    LongreelError
    ├── InputError            what the user asked for cannot be done; exit code 2, nothing written
    │   ├── CampaignFileError     a campaign file, with the line that is wrong
    │   │   └── RefusedFilmsError     films of a campaign, each with what is wrong
    │   ├── SettingsError         a setting (LONGREEL_…) that cannot work
    │   ├── NotFoundError         no film or campaign by that id
    │   └── QuotaError            more than a key of the service may use
    ├── StoreError            object storage
    │   ├── ObjectMissingError    a key that should be there is not
    │   ├── StoreUnreachableError the store does not answer or refuses us      (transient)
    │   └── StoreFullError        no space left
    ├── DatabaseError         the database does not answer or is of another version (transient)
    ├── ServerError           a service that LONGREEL_SERVER names refuses us, or is another version
    │   ├── KeyRefusedError       it needs a key, or another one than LONGREEL_KEY
    │   └── ServerAwayError       it does not answer, or cannot at the moment      (transient)
    ├── MediaError            ffmpeg failed, or a file is not what it should be
    ├── RenderError           a segment could not be rendered
    │   ├── OutOfMemoryError      the device's memory is exhausted            (transient)
    │   ├── BadPictureError       the model gave non-finite or empty pictures
    │   ├── UnfitWeightsError     weights or a LoRA that the user gave do not fit the model
    │   ├── WeightsMissingError   the model's weights are not on this machine (transient)
    │   ├── FlagError             a flag that cannot take effect on this worker (transient)
    │   └── WorkerLostError       the process that rendered it died           (transient)
    ├── UnreadableFilmError   a film that another version of Longreel wrote
    ├── OrchestrationError    the Prefect server cannot be started or reached (transient)
    └── Cancelled             the film was cancelled while being worked on

An error's text is one or two sentences: what happened, to what, and what to do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


class LongreelError(Exception):
    """The root. `transient` is True if trying the same again later can succeed."""

    transient = False


class InputError(LongreelError):
    """What was asked for cannot be done; nothing was written."""


class CampaignFileError(InputError):
    """A campaign file is wrong at a place that the message names (`file:line: …`).

    An empty `source` stands for the command line, which has no lines to name.
    """

    def __init__(self, source: str, line: int | None, problem: str) -> None:
        where = source if line is None else f"{source}:{line}"
        super().__init__(": ".join(part for part in (where, problem) if part))
        self.line = line


@dataclass(frozen=True)
class Refusal:
    """Why one film of a campaign is refused."""

    item: int
    """Number of the film, counted from 1."""
    detail: str
    line: int | None = None
    """Line in the campaign file; None if it has none."""


MOST_REFUSALS = 100
"""Refused films after which a campaign is read no further."""
MOST_NAMED = 20
"""Reasons that a message names."""


class RefusedFilmsError(CampaignFileError):
    """Films of a campaign cannot be rendered; the message has a line for each reason."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        counts = Counter(map(_reason, refusals))
        firsts = {_reason(refusal): refusal for refusal in reversed(refusals)}
        lines = [_line(firsts[reason], count) for reason, count in counts.items()]
        if len(lines) > MOST_NAMED:
            lines[MOST_NAMED:] = [f"… and {len(lines) - MOST_NAMED} other reasons."]
        super().__init__("\n".join(lines), None, "")
        self.refusals = tuple(refusals)
        self.line = refusals[0].line


def _reason(refusal: Refusal) -> str:
    """Why, whichever film it is."""
    return re.sub(rf"\b([Ff]ilm) {refusal.item}\b", r"\1", refusal.detail, count=1)


def _line(first: Refusal, count: int) -> str:
    others = count - 1
    if not others:
        return first.detail
    films = "another film" if others == 1 else f"{others} other films"
    return f"{first.detail} (The same is true of {films}.)"


class SettingsError(InputError):
    """A setting cannot work; the message names its variable."""


class QuotaError(InputError):
    """More was asked for than a key of the service may use; nothing was written."""


class NotFoundError(InputError):
    """No film or campaign has the given id."""


class StoreError(LongreelError):
    """Object storage failed in a way that trying again does not mend."""


class ObjectMissingError(StoreError):
    """An object that should be in the store is not there."""


class StoreUnreachableError(StoreError):
    """The store does not answer, or refuses our credentials."""

    transient = True


class StoreFullError(StoreError):
    """No space is left for the store or for a scratch file."""

    transient = True


class DatabaseError(LongreelError):
    """The database does not answer, or its tables are of another version."""

    transient = True


class ServerError(LongreelError):
    """The service of a farm refuses the key, or is of another version."""


class KeyRefusedError(ServerError):
    """The service of a farm needs a key, does not accept this one, or its scopes do not suffice."""


class ServerAwayError(ServerError):
    """The service of a farm does not answer, or a part that it needs is away."""

    transient = True


class MediaError(LongreelError):
    """ffmpeg failed, or a media file is not what it should be."""


class RenderError(LongreelError):
    """A segment could not be rendered."""


class OutOfMemoryError(RenderError):
    """The device's memory was exhausted while rendering."""

    transient = True


class BadPictureError(RenderError):
    """The model returned non-finite latents or an empty picture."""


class UnfitWeightsError(RenderError):
    """Weights or a LoRA that the user gave do not fit the model; no attempt can succeed."""


class WeightsMissingError(RenderError):
    """The weights that the segment is to be rendered with are not on this machine."""

    transient = True


class FlagError(RenderError):
    """A flag of the film cannot take effect on this worker."""

    transient = True


class WorkerLostError(RenderError):
    """The process that rendered the segment died."""

    transient = True


class UnreadableFilmError(LongreelError):
    """A film in the database is in a form that this version does not know."""


class OrchestrationError(LongreelError):
    """The Prefect server cannot be started or reached."""

    transient = True


class Cancelled(LongreelError):  # noqa: N818  (a decision of the user, not an error)
    """The film was cancelled while it was being worked on."""
