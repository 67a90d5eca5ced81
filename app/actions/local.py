"""A farm by its database and its store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UnsetType
from sqlalchemy.engine import Connection

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
from app.model_data import model_data
from app.plan_data import plan_data
from db import budgets, events, presets, spending
from db.films import campaigns, films, listing, usage, user_actions
from db.films.films import BATCH, batched
from db.films.listing import FilmRow
from db.films.removal import Removed
from db.presets import PresetRow
from db.segments import progress, takes
from db.workers import registry
from db.workers.registry import WorkerCommand, WorkerRow
from db.workers.unservable import explain_unservable
from film.errors import DatabaseError, InputError, NotFoundError
from film.reading.film import film_from_prompt
from film.reading.presets import require_preset
from film.sizes import require_size
from film.types import Campaign, FilmStatus, to_json
from flows.cleaning import Cleaned
from flows.farm import Farm, open_farm

if TYPE_CHECKING:
    from flows.submission.estimate import Estimate


class LocalActions:
    """See `Actions`."""

    part = "database"
    pause = 0.2

    def __init__(
        self, farm: Farm | None = None, *, create: bool = True, key_id: str | None = None
    ) -> None:
        """The farm of this machine's settings if `farm` is not given, opened when it is needed;
        unless `create`, an embedded database that does not exist yet is not created. `key_id`: the
        key of the user."""
        self._given, self._create, self._key_id = farm, create, key_id

    @cached_property
    def farm(self) -> Farm:
        """The parts of the installation. Raises `DatabaseError`, `SettingsError`."""
        return self._given or open_farm(create=self._create)

    def check(self) -> None:
        with self.farm.database.read():
            pass

    def find_films(
        self,
        *,
        statuses: Collection[FilmStatus] = (),
        text: str = "",
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> list[FilmRow]:
        with self.farm.database.read() as connection:
            return listing.find_films(
                connection, statuses=statuses, text=text, since=since, until=until, limit=limit
            )

    def films_of(self, name: str) -> list[FilmRow]:
        with self.farm.database.read() as connection:
            campaigns.of(connection, name)
            return listing.films_of(connection, name)

    def show(self, name: str, limit: int | None = None) -> FilmDetails | CampaignDetails:
        with self.farm.database.read() as connection:
            campaign = campaigns.of(connection, name)
            if campaign.id != name:
                return _film_details(connection, name)
            return CampaignDetails(
                campaign=campaign,
                tally=listing.tally(connection, name),
                films=tuple(listing.films_of(connection, name, limit)),
                used_seconds=spending.of_campaigns(connection, [name])[name],
                blocked=tuple(explain_unservable(connection, campaign, None)),
            )

    def campaigns(
        self, limit: int | None = None, since: float | None = None, until: float | None = None
    ) -> list[CampaignSummary]:
        with self.farm.database.read() as connection:
            rows = campaigns.newest(connection, limit, since=since, until=until)
            counts = listing.campaign_films(connection, [row.id for row in rows])
        # One without films was removed in this moment.
        return [
            CampaignSummary(campaign=row, films=counts[row.id]) for row in rows if row.id in counts
        ]

    def campaign_of(self, name: str) -> CampaignSummary:
        with self.farm.database.read() as connection:
            row = campaigns.of(connection, name)
            counts = listing.campaign_films(connection, [row.id])
        if row.id not in counts:  # it was removed in this moment
            raise NotFoundError(f"There is no film or campaign {name!r}.")
        return CampaignSummary(campaign=row, films=counts[row.id])

    def history(self, name: str, after: int = 0) -> History:
        with self.farm.database.read() as connection:
            campaign = campaigns.of(connection, name)
            # Before the events are read, so that the last ones are not missed.
            is_open = campaigns.is_open(connection, name)
            found = events.of(connection, campaign.id, name, after)
        return History(events=tuple(found), open=is_open)

    def plan(self, campaign: Campaign) -> Planned:
        from flows.submission.submit import plans

        planned = list(plans(self.farm, campaign))
        addresses = {segment.address for _, plan in planned for segment in plan.segments}
        unknown = None
        try:
            before = self._rendered(addresses)
        except DatabaseError as error:
            before, unknown = set(), str(error)
        return Planned(
            plans=tuple(plan_data(request, plan, before) for request, plan in planned),
            unknown=unknown,
        )

    def _rendered(self, addresses: Collection[str]) -> set[str]:
        """Those of the segments' addresses that have a take."""
        found: set[str] = set()
        if self.farm.is_new:
            return found
        with self.farm.database.read() as connection:
            for some in batched(sorted(addresses), BATCH):
                found |= takes.rendered(connection, some)
        return found

    def submit(self, campaign: Campaign) -> Submitted:
        from flows.submission.submit import submit

        ids = submit(self.farm, campaign, key_id=self._key_id)
        return self._submitted(ids[0].rpartition("-")[0])

    def retake(self, film_id: str, seeds: Mapping[int, int]) -> Submitted:
        from flows.submission.retake import retake_film

        with self.farm.database.read() as connection:
            if campaigns.of(connection, film_id).id == film_id:
                raise InputError(f"{film_id} is a campaign; give the id of one of its films.")
        return self._submitted(
            retake_film(self.farm, film_id, seeds, self._key_id).rpartition("-")[0]
        )

    def _submitted(self, campaign_id: str) -> Submitted:
        with self.farm.database.read() as connection:
            return Submitted(
                campaign_id=campaign_id,
                films=tuple(listing.films_of(connection, campaign_id)),
                notices=films.notices(connection, campaign_id),
            )

    def estimate(self, campaign: Campaign) -> Estimate:
        from flows.submission.estimate import estimate

        return estimate(self.farm, campaign)

    def steer(self, campaign_id: str, wanted: Steering) -> Steered:
        with self.farm.database.write() as connection:
            before = campaigns.of(connection, campaign_id)
            moved = _steer(connection, before.id, wanted)
            after = campaigns.of(connection, before.id)
        return Steered(campaign=after, changed=moved or after != before)

    def presets(self) -> list[PresetRow]:
        if self.farm.is_new:
            return []
        with self.farm.database.read() as connection:
            return presets.listing(connection)

    def put_preset(self, name: str, options: Mapping[str, Any], note: str = "") -> PresetRow:
        kept = require_preset(name, options)
        tried = film_from_prompt("A preset is tried with this.", kept)
        require_size(tried.width, tried.height)
        most = self.farm.settings.max_film_seconds
        if tried.seconds is not None and tried.seconds > most:
            raise InputError(
                f"seconds: a film has at most {most:g} s here (LONGREEL_MAX_FILM_SECONDS)"
            )
        with self.farm.database.write() as connection:
            presets.put(connection, name, to_json(kept), note)
            return presets.get(connection, name)

    def remove_preset(self, name: str) -> None:
        with self.farm.database.write() as connection:
            presets.remove(connection, name)

    def count_open(self, name: str) -> int:
        with self.farm.database.read() as connection:
            return campaigns.count_open(connection, name)

    def cancel(self, name: str) -> list[str]:
        with self.farm.database.write() as connection:
            campaigns.of(connection, name)
            return user_actions.cancel(connection, name)

    def requeue(self, name: str, *, failed_only: bool = False) -> list[str]:
        lost = [] if failed_only else self._lost(name)
        with self.farm.database.write() as connection:
            campaigns.of(connection, name)
            reopened = [film_id for film_id in lost if user_actions.reopen(connection, film_id)]
            return reopened + user_actions.requeue(connection, name, failed_only=failed_only)

    def _lost(self, name: str) -> list[str]:
        """The delivered films whose files are missing from the store or damaged."""
        from flows.deliveries import is_whole

        with self.farm.database.read() as connection:
            delivered = films.deliveries(connection, name)
        if not delivered:
            return []
        scratch = self.farm.scratch.open()
        return [
            film_id
            for film_id, delivery in delivered
            if not is_whole(self.farm.store, delivery, scratch)
        ]

    def remove(self, name: str) -> Removed:
        from flows.cleaning import remove_films

        with self.farm.database.read() as connection:
            campaigns.of(connection, name)
        return remove_films(self.farm, name)

    def usage(self) -> UsageReport:
        with self.farm.database.read() as connection:
            return UsageReport(
                campaigns=tuple(usage.of_campaigns(connection)),
                takes_bytes=usage.of_takes(connection),
            )

    def clean(self, *, finished: bool = False, dry_run: bool = False) -> Cleaned:
        from flows.cleaning import clean

        return clean(self.farm, finished=finished, dry_run=dry_run)

    def workers(self) -> list[WorkerRow]:
        with self.farm.database.read() as connection:
            return registry.listing(connection)

    def order(self, worker: str, command: WorkerOrder) -> WorkerRow:
        wanted = None if command == "resume" else WorkerCommand(command)
        with self.farm.database.write() as connection:
            return registry.order(connection, worker, wanted)

    def models(self) -> list[dict[str, Any]]:
        from flows.model_catalog import revisions

        return [model_data(state) for state in revisions.states(self.farm)]

    def deliverables(self, name: str, pattern: str | None = None) -> list[Deliverable]:
        from flows.deliveries import named_films

        with self.farm.database.read() as connection:
            found = named_films(connection, name, pattern)
        return [
            Deliverable(
                id=film.id,
                status=film.status,
                file_name=file_name,
                sha256=film.delivery.sha256 if film.delivery else None,
                size_bytes=film.delivery.size_bytes if film.delivery else None,
            )
            for film, file_name in found
        ]

    def fetch(self, film: Deliverable, path: Path) -> None:
        from flows.deliveries import fetch_film

        with self.farm.database.read() as connection:
            delivery = films.require_delivery(connection, film.id)
        fetch_film(self.farm.store, delivery, path)

    def link(self, film: Deliverable, seconds: float) -> str:
        with self.farm.database.read() as connection:
            delivery = films.require_delivery(connection, film.id)
        return self.farm.store.link(delivery.key, seconds, Path(film.file_name).name)

    def address_of(self, film: Deliverable) -> str | None:
        return self.link(film, OPEN_SECONDS)

    def dashboard(self) -> str:
        from flows.prefect_runs import prefect_server

        return prefect_server.ensure(self.farm.settings).removesuffix("/api")

    def close(self) -> None:
        if "farm" in self.__dict__ and self._given is None:
            self.farm.close()


OPEN_SECONDS = 24 * 3600.0
"""How long the address of a film that is opened in a player works."""


def _film_details(connection: Connection, film_id: str) -> FilmDetails:
    (row,) = listing.films_of(connection, film_id)
    film = films.get(connection, film_id)
    campaign = campaigns.of(connection, film_id)
    return FilmDetails(
        row=row,
        request=film.request,
        plan=film.plan,
        delivery=film.delivery,
        parts=tuple(progress.of_film(connection, film_id)),
        made_by=takes.made_by(connection, film_id),
        blocked=tuple(explain_unservable(connection, campaign, film_id)),
    )


def _set_budget(connection: Connection, campaign_id: str, wanted: Steering) -> None:
    seconds = wanted.budget_seconds
    if isinstance(seconds, UnsetType):
        seconds = campaigns.of(connection, campaign_id).budget_seconds
    budgets.set_budget(connection, campaign_id, seconds, wanted.over_budget or None)


def _steer(connection: Connection, campaign_id: str, wanted: Steering) -> bool:
    """Makes the changes; True if the campaign was paused or continued, or is as urgent as asked
    for."""
    changed = False
    if isinstance(wanted.paused, bool):
        move = campaigns.pause if wanted.paused else campaigns.resume
        changed = move(connection, campaign_id)
    if isinstance(wanted.priority, int):
        campaigns.set_priority(connection, campaign_id, wanted.priority)
        changed = True
    if wanted.deadline is None or isinstance(wanted.deadline, int | float):
        campaigns.set_deadline(connection, campaign_id, wanted.deadline)
        changed = True
    if wanted.max_workers is None or isinstance(wanted.max_workers, int):
        campaigns.set_max_workers(connection, campaign_id, wanted.max_workers)
        changed = True
    if not isinstance(wanted.budget_seconds, UnsetType) or wanted.over_budget:
        _set_budget(connection, campaign_id, wanted)
        changed = True
    return changed
