"""What actions return, beyond the values of the database."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from db.events import Event
from db.films.campaigns import CampaignRow
from db.films.listing import CampaignFilms, FilmRow, Tally
from db.films.usage import Usage
from db.segments.progress import SegmentRow
from film.types import Delivery, FilmRequest, FilmStatus, OverBudget, Plan, Struct


class FilmDetails(Struct, frozen=True, kw_only=True):
    """A film with everything that `show` prints."""

    row: FilmRow
    request: FilmRequest
    plan: Plan
    delivery: Delivery | None
    parts: tuple[SegmentRow, ...]
    made_by: dict[int, Any]
    """What made the takes of segments, by their positions."""
    blocked: tuple[str, ...]
    """Why no running worker can render the rest, in sentences."""


class CampaignDetails(Struct, frozen=True, kw_only=True):
    """A campaign with everything that `show` prints."""

    campaign: CampaignRow
    tally: Tally
    films: tuple[FilmRow, ...]
    """The first ones, as many as were asked for."""
    used_seconds: float
    """GPU-seconds that it used."""
    blocked: tuple[str, ...]


class CampaignSummary(Struct, frozen=True, kw_only=True):
    """A campaign as listings show it."""

    campaign: CampaignRow
    films: CampaignFilms


class History(Struct, frozen=True, kw_only=True):
    """Events, oldest first."""

    events: tuple[Event, ...]
    open: bool
    """True if more can follow: a film was not finished before the events were read."""


class Planned(Struct, frozen=True, kw_only=True):
    """The plans of a campaign; nothing was written."""

    plans: tuple[dict[str, Any], ...]
    """As `plan --json` prints them."""
    unknown: str | None = None
    """Why it is not known what was rendered before; None if it is."""


class Submitted(Struct, frozen=True, kw_only=True):
    """Films that were added."""

    campaign_id: str
    films: tuple[FilmRow, ...]
    notices: dict[str, int]
    """What users should know of the plans, with the number of films."""


class Steering(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to change in how a campaign is dispatched; what is left out stays."""

    paused: bool | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    deadline: float | UnsetType | None = UNSET
    """Seconds since 1970; None removes it."""
    max_workers: int | UnsetType | None = UNSET
    """None removes the limit."""
    budget_seconds: float | UnsetType | None = UNSET
    """GPU-seconds that it may use in all; None removes the limit."""
    over_budget: OverBudget | UnsetType = UNSET
    """What happens when they are used."""


class Steered(Struct, frozen=True, kw_only=True):
    """A campaign after a change."""

    campaign: CampaignRow
    changed: bool
    """False if it was like that already."""


class UsageReport(Struct, frozen=True, kw_only=True):
    """What is in the store."""

    campaigns: tuple[Usage, ...]
    takes_bytes: int
    """Of all takes, each counted once."""


class Deliverable(Struct, frozen=True, kw_only=True):
    """A film whose file can be fetched once it is delivered."""

    id: str
    status: FilmStatus
    file_name: str
    """Name of its file, with `/` between folders, made by a naming pattern."""
    sha256: str | None
    """None if it is not delivered."""
    size_bytes: int | None


WorkerOrder = Literal["drain", "stop", "resume"]
"""What an operator wants a worker to do."""
