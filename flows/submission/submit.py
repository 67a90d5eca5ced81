"""Submitting: requests become planned films in the database, with all their segments."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy.engine import Connection

from db import quotas
from db.films import campaigns, films, user_actions
from film.errors import MOST_REFUSALS, DatabaseError, InputError, Refusal, RefusedFilmsError
from film.identity import film_digest
from film.plan import plan_film
from film.types import Campaign, FilmRequest, Plan
from flows.deliveries import is_whole
from flows.farm import Farm, require_space
from flows.model_catalog.revisions import note_local, revision_of
from flows.submission.image_uploads import Pictures
from flows.submission.lora_uploads import Loras

logger = logging.getLogger(__name__)

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that are mistaken for one another


MOST_SEGMENTS = 1_500_000
"""Most segments of a submission: its plans are in memory until they are written."""


MANY_SEGMENTS = 10_000
"""Segments of a submission after which the database counts its rows anew."""


class TooManySegmentsError(InputError):
    """The films together are too many; each by itself may be rendered."""


class Planner:
    """Plans the films of one submission; each of their files and models is read once."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._pictures, self._loras = Pictures(), Loras(farm.settings.home)
        self._revisions: dict[str, str] = {}
        self._segments = 0

    def plan(self, asked: FilmRequest) -> tuple[FilmRequest, Plan]:
        """A film, its files named by their digests, with its plan. Raises `InputError`."""
        name = asked.settings.model
        request = self._loras.named(self._pictures.named(asked))
        if name not in self._revisions:
            self._revisions[name] = revision_of(self._farm, name)
        most = self._farm.settings.max_film_seconds
        plan = plan_film(request, self._revisions[name], most)
        self._segments += len(plan.segments)
        if self._segments > MOST_SEGMENTS:
            raise TooManySegmentsError(
                f"These films have more than {MOST_SEGMENTS:,} segments together; submit them in "
                f"parts."
            )
        return request, plan

    def keep_files(self) -> None:
        """Puts the pictures and LoRAs of all of them into the store. Raises `InputError` if one was
        changed meanwhile, `StoreError`."""
        self._pictures.keep(self._farm.store)
        self._loras.keep(self._farm.store)


def plans(farm: Farm, campaign: Campaign) -> Iterator[tuple[FilmRequest, Plan]]:
    """Each film of `campaign` with its plan. Raises `InputError` after the last one if some are
    impossible."""
    yield from _plans(Planner(farm), campaign)


def _plans(planner: Planner, campaign: Campaign) -> Iterator[tuple[FilmRequest, Plan]]:
    refusals: list[Refusal] = []
    for number, asked in enumerate(campaign.films, 1):
        try:
            planned = planner.plan(asked)
        except InputError as error:
            if len(campaign.films) == 1 or isinstance(error, TooManySegmentsError):
                raise
            refusals.append(Refusal(number, f"Film {number} of {campaign.name!r}: {error}"))
            if len(refusals) == MOST_REFUSALS:
                break
        else:
            yield planned
    if refusals:
        raise RefusedFilmsError(refusals)


Also = Callable[[Connection, list[str]], None]
"""Writes more in the transaction of a submission, about the films with these ids."""


def submit(
    farm: Farm,
    campaign: Campaign,
    also: Also = lambda connection, ids: None,
    *,
    checked: bool = False,
    key_id: str | None = None,
) -> list[str]:
    """Adds `campaign` and returns the ids of its films.

    Everything is planned and the store asked before anything is written. `also` writes more in the
    same transaction. `checked`: the caller has found out that disk, store and database can be used.
    `key_id`: the key that it is submitted with. Raises `InputError`, `QuotaError`, `StoreError`,
    `DatabaseError`.
    """
    if key_id:  # before the work of planning, and again when the films are added
        with farm.database.read() as connection:
            quotas.require(connection, key_id, len(campaign.films))
    # Kept rather than planned while writing: SQLite's one writer must not wait for planning.
    planner = Planner(farm)
    planned = list(_plans(planner, campaign))
    if not checked:
        _require_parts(farm)
    return submit_planned(farm, campaign, planner, planned, also, key_id)


def submit_planned(
    farm: Farm,
    campaign: Campaign,
    planner: Planner,
    planned: Sequence[tuple[FilmRequest, Plan]],
    also: Also,
    key_id: str | None = None,
) -> list[str]:
    """Adds films that `planner` planned as a campaign with the name and the dispatch of `campaign`,
    and returns their ids; `campaign.films` is not looked at. Raises as `submit` does."""
    planner.keep_files()
    campaign_id = "".join(secrets.choice(_LETTERS) for _ in range(6))
    with farm.database.write() as connection:
        if key_id:
            quotas.lock(connection, key_id)
            quotas.require(connection, key_id, len(planned))
        campaigns.insert_campaign(
            connection,
            campaign_id,
            campaign.name,
            campaign.priority,
            campaign.deadline,
            campaign.max_workers,
            campaign.budget_seconds,
            campaign.over_budget,
            key_id,
        )
        note_local(connection, (plan for _, plan in planned))
        ids = campaigns.insert_films(connection, campaign_id, planned)
        also(connection, ids)
    if sum(len(plan.segments) for _, plan in planned) >= MANY_SEGMENTS:
        _count_anew(farm)
    return ids


def _count_anew(farm: Farm) -> None:
    try:
        farm.database.count_anew("films", "segments")
    except DatabaseError as error:  # queries are slower for a minute
        logger.warning("The new rows are not counted yet: %s", error)


def submit_once(farm: Farm, request: FilmRequest) -> str:
    """Adds one film under an id that follows from its content, and returns that id.

    A request for the same film finds the existing one: an interrupted film continues, a failed one
    is tried again, a paused one is resumed, a delivered one stays. Raises as `submit` does.
    """
    planner = Planner(farm)
    request, plan = planner.plan(request)
    campaign_id = "r" + film_digest(request, plan)[:9]
    film_id = f"{campaign_id}-1"
    _require_parts(farm)
    planner.keep_files()
    with farm.database.write() as connection:
        note_local(connection, [plan])
        if campaigns.insert_campaign(connection, campaign_id, f"render: {request.title}"):
            campaigns.insert_films(connection, campaign_id, [(request, plan)])
            return film_id
        film = films.get(connection, film_id)
        user_actions.requeue(connection, film_id)
        campaigns.resume(connection, campaign_id)
    if film.delivery and not is_whole(farm.store, film.delivery, farm.scratch.open()):
        with farm.database.write() as connection:
            user_actions.reopen(connection, film_id)
    return film_id


def _require_parts(farm: Farm) -> None:
    require_space(farm.settings.home)
    farm.store.check()
    farm.prepare_database()
