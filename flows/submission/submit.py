"""Submitting: requests become planned films in the database, with all their segments."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from sqlalchemy.engine import Connection

from db.films import campaigns, films, user_actions
from film.errors import MOST_REFUSALS, InputError, Refusal, RefusedFilmsError
from film.identity import film_digest
from film.plan import plan_film
from film.types import Campaign, FilmRequest, Plan
from flows.deliveries import is_whole
from flows.farm import Farm, require_space
from flows.model_catalog.revisions import note_local, revision_of
from flows.submission.image_uploads import Pictures
from flows.submission.lora_uploads import Loras

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that are mistaken for one another


def plans(farm: Farm, campaign: Campaign) -> Iterator[tuple[FilmRequest, Plan]]:
    """Each film of `campaign` with its plan. Raises `InputError` after the last one if some are
    impossible."""
    yield from _plans(farm, campaign, Pictures(), Loras(farm.settings.home))


def _plans(
    farm: Farm, campaign: Campaign, pictures: Pictures, loras: Loras
) -> Iterator[tuple[FilmRequest, Plan]]:
    revisions: dict[str, str] = {}
    refusals: list[Refusal] = []
    for number, asked in enumerate(campaign.films, 1):
        try:
            planned = _plan(farm, asked, pictures, loras, revisions)
        except InputError as error:
            if len(campaign.films) == 1:
                raise
            refusals.append(Refusal(number, f"Film {number} of {campaign.name!r}: {error}"))
            if len(refusals) == MOST_REFUSALS:
                break
        else:
            yield planned
    if refusals:
        raise RefusedFilmsError(refusals)


def _plan(
    farm: Farm,
    asked: FilmRequest,
    pictures: Pictures,
    loras: Loras,
    revisions: dict[str, str],
) -> tuple[FilmRequest, Plan]:
    """A film, its files named by their digests, with its plan. Raises `InputError`.

    `revisions` has those of the models that were asked for before.
    """
    name = asked.settings.model
    request = loras.named(pictures.named(asked))
    revisions[name] = revisions.get(name) or revision_of(farm, name)
    return request, plan_film(request, revisions[name], farm.settings.max_film_seconds)


def submit(
    farm: Farm,
    campaign: Campaign,
    also: Callable[[Connection, list[str]], None] = lambda connection, ids: None,
    *,
    checked: bool = False,
) -> list[str]:
    """Adds `campaign` and returns the ids of its films.

    Everything is planned and the store asked before anything is written. `also` writes more in the
    same transaction, about the films with these ids. `checked`: the caller has found out that disk,
    store and database can be used. Raises `InputError`,
    `StoreError`, `DatabaseError`.
    """
    # Kept rather than planned while writing: SQLite's one writer must not wait for planning.
    pictures, loras = Pictures(), Loras(farm.settings.home)
    planned = list(_plans(farm, campaign, pictures, loras))
    if not checked:
        _require_parts(farm)
    pictures.keep(farm.store)
    loras.keep(farm.store)
    campaign_id = "".join(secrets.choice(_LETTERS) for _ in range(6))
    with farm.database.write() as connection:
        campaigns.insert_campaign(
            connection,
            campaign_id,
            campaign.name,
            campaign.priority,
            campaign.deadline,
            campaign.max_workers,
        )
        note_local(connection, (plan for _, plan in planned))
        ids = campaigns.insert_films(connection, campaign_id, planned)
        also(connection, ids)
        return ids


def submit_once(farm: Farm, request: FilmRequest) -> str:
    """Adds one film under an id that follows from its content, and returns that id.

    A request for the same film finds the existing one: an interrupted film continues, a failed one
    is tried again, a paused one is resumed, a delivered one stays. Raises as `submit` does.
    """
    pictures, loras = Pictures(), Loras(farm.settings.home)
    request, plan = _plan(farm, request, pictures, loras, {})
    campaign_id = "r" + film_digest(request, plan)[:9]
    film_id = f"{campaign_id}-1"
    _require_parts(farm)
    pictures.keep(farm.store)
    loras.keep(farm.store)
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
