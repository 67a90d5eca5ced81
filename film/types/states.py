"""Where films and segments are on their way."""

from __future__ import annotations

from enum import StrEnum


class FilmStatus(StrEnum):
    """Where a film is on its way."""

    QUEUED = "queued"
    """Submitted; nobody works on it yet."""
    RENDERING = "rendering"
    """Its segments are being rendered."""
    STITCHING = "stitching"
    """All segments are in; they are being joined and checked."""
    DELIVERED = "delivered"
    """The finished film is in the store."""
    FAILED = "failed"
    """It ended with an error; `requeue` starts it again from where it was."""
    CANCELLED = "cancelled"
    """Stopped by the user; `requeue` starts it again from where it was."""
    PAUSED = "paused"
    """Held by the user; nothing of it is dispatched until it is resumed."""

    @property
    def final(self) -> bool:
        """True where nothing more happens unless the user asks for it."""
        return self in (FilmStatus.DELIVERED, FilmStatus.FAILED, FilmStatus.CANCELLED)


class SegmentStatus(StrEnum):
    """Where a segment is on its way."""

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
