"""The actions themselves, as commands call them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from app.actions.values import (
    CampaignDetails,
    CampaignSummary,
    Deliverable,
    FilmDetails,
    History,
    Planned,
    Steered,
    Steering,
    Submitted,
    UsageReport,
    WorkerOrder,
)
from db.films.listing import FilmRow
from db.films.removal import Removed
from db.presets import PresetRow
from db.workers.registry import WorkerRow
from film.types import Campaign, FilmStatus
from flows.cleaning import Cleaned
from flows.submission.estimate import Estimate


class Actions(Protocol):
    """A farm, as its users act on it. `name` is the id of a film or of a campaign.

    All raise `NotFoundError` for a name that does not exist, `InputError`, and `DatabaseError` or
    `ServerError` if the farm does not answer.
    """

    part: str
    """What is away if it does not answer: `database` or `server`."""

    pause: float
    """Seconds between two looks at what is followed."""

    def check(self) -> None:
        """Finds out if the farm answers."""

    def find_films(
        self,
        *,
        statuses: Collection[FilmStatus] = (),
        text: str = "",
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> list[FilmRow]:
        """Films, newest campaign first; times of submission in seconds since 1970."""

    def films_of(self, name: str) -> list[FilmRow]:
        """The film, or all films of the campaign."""

    def show(self, name: str, limit: int | None = None) -> FilmDetails | CampaignDetails:
        """Everything about it; of a campaign at most `limit` films."""

    def campaigns(
        self, limit: int | None = None, since: float | None = None, until: float | None = None
    ) -> list[CampaignSummary]:
        """The campaigns, newest first."""

    def campaign_of(self, name: str) -> CampaignSummary:
        """The campaign, or that of the film."""

    def history(self, name: str, after: int = 0) -> History:
        """Its events with higher numbers than `after`."""

    def plan(self, campaign: Campaign) -> Planned:
        """How the films would be rendered. Raises `RefusedFilmsError`."""

    def estimate(self, campaign: Campaign) -> Estimate:
        """What the films would cost, by what similar segments used. Raises `RefusedFilmsError`."""

    def submit(self, campaign: Campaign) -> Submitted:
        """Adds all films of the campaign, or none. Raises `RefusedFilmsError`, `StoreError`."""

    def retake(self, film_id: str, seeds: Mapping[int, int]) -> Submitted:
        """Adds the film again with other seeds for scenes, counted from 1."""

    def steer(self, campaign_id: str, wanted: Steering) -> Steered:
        """Changes how a campaign is dispatched."""

    def presets(self) -> list[PresetRow]:
        """The presets by name."""

    def put_preset(self, name: str, options: Mapping[str, Any], note: str = "") -> PresetRow:
        """Adds a preset, or replaces the one of this name."""

    def remove_preset(self, name: str) -> None:
        """Removes a preset."""

    def count_open(self, name: str) -> int:
        """Number of its films that are not finished."""

    def cancel(self, name: str) -> list[str]:
        """Cancels its films that are not finished, and returns their ids."""

    def requeue(self, name: str, *, failed_only: bool = False) -> list[str]:
        """Queues its failed and cancelled films again, and delivered ones whose file is missing or
        damaged unless `failed_only`; returns their ids."""

    def remove(self, name: str) -> Removed:
        """Removes finished films and their files. Raises `StoreError`."""

    def usage(self) -> UsageReport:
        """What each campaign has in the store."""

    def clean(self, *, finished: bool = False, dry_run: bool = False) -> Cleaned:
        """Removes what no film needs. Raises `StoreError`."""

    def workers(self) -> list[WorkerRow]:
        """The workers, those that ended within a day included."""

    def order(self, worker: str, command: WorkerOrder) -> WorkerRow:
        """Commands a worker."""

    def models(self) -> list[dict[str, Any]]:
        """The models, as `models --json` prints them."""

    def deliverables(self, name: str, pattern: str | None = None) -> list[Deliverable]:
        """Its films with the names of their files, by a naming pattern."""

    def fetch(self, film: Deliverable, path: Path) -> None:
        """Writes the file of a delivered film, compared with its digest. Raises `StoreError`."""

    def link(self, film: Deliverable, seconds: float) -> str:
        """An address of a delivered film's file that needs no key for that time."""

    def address_of(self, film: Deliverable) -> str | None:
        """An address that a player of this machine opens; None if the file must be fetched."""

    def dashboard(self) -> str:
        """The address of the Prefect dashboard. Raises `OrchestrationError`."""

    def close(self) -> None:
        """Ends connections."""
