"""The statuses of films and segments."""

from __future__ import annotations

from enum import StrEnum


class FilmStatus(StrEnum):
    """The status of a film."""

    QUEUED = "queued"
    """Its turn comes: no worker renders a segment of it now."""
    WAITING = "waiting"
    """It moves only when somebody acts, or a part that is away returns. Never stored, but derived
    when rows are read."""
    RENDERING = "rendering"
    """Workers render segments of it. Stored from the beginning of its flow; rows that are read
    have it only while a segment is leased."""
    STITCHING = "stitching"
    """All segments are in; they are being joined and checked."""
    DELIVERED = "delivered"
    """The finished film is in the store."""
    FAILED = "failed"
    """It ended with an error; `requeue` continues it."""
    CANCELLED = "cancelled"
    """Stopped by the user; `requeue` continues it."""
    PAUSED = "paused"
    """Held by the user; nothing of it is dispatched until it is resumed."""

    @property
    def final(self) -> bool:
        """True if nothing more happens unless the user asks for it."""
        return self in (FilmStatus.DELIVERED, FilmStatus.FAILED, FilmStatus.CANCELLED)


class SegmentStatus(StrEnum):
    """The status of a segment."""

    WAITING = "waiting"
    """The segment it continues has no take yet."""
    READY = "ready"
    """Any worker may lease it."""
    LEASED = "leased"
    """A worker renders it, and holds its lease."""
    DONE = "done"
    """Its take is in the store."""
    FAILED = "failed"
    """Its attempts are used up, or its error is permanent."""
    CANCELLED = "cancelled"
    """Its film was cancelled."""


class RunOutcome(StrEnum):
    """How a run in Prefect ended: a film's flow, an attempt at a segment, or a placed worker."""

    COMPLETED = "completed"
    """With its result."""
    FAILED = "failed"
    """With an error of its own."""
    CANCELLED = "cancelled"
    """Given up on request: the work was cancelled, paused or given back."""
    CRASHED = "crashed"
    """Without a word: its process died or lost its lease."""


class OverBudget(StrEnum):
    """What happens to a campaign that has used its budget. All but `warn` stop its dispatch."""

    WARN = "warn"
    """An event says so, and it continues."""
    STOP = "stop"
    """Nothing more of it is dispatched until it gets a larger budget."""
    CANCEL = "cancel"
    """Its films that are not finished are cancelled."""


class Hold(StrEnum):
    """Why nothing of a campaign is dispatched, apart from a pause."""

    BUDGET = "budget"
    """It has used its budget."""
    QUOTA = "quota"
    """Its key has used its GPU time of the last 24 hours."""
