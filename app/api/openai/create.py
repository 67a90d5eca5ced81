"""Requests for videos become films, once each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from app.api.openai.errors import ApiError
from app.api.openai.fields import require_known
from app.api.openai.film_wanted import read_wanted, require_prompt
from app.api.openai.objects import film_id
from app.api.openai.pictures import Pictures
from db.films import films, videos
from db.films.campaigns import require_own_film
from db.films.films import Film
from db.films.videos import VideoRow
from film.reading.film import film_from_prompt
from film.types import Campaign, FilmRequest, SceneRequest, Seam
from flows.farm import Farm
from flows.submission.retake import retaken
from flows.submission.submit import submit

WINDOW_SECONDS = 24 * 3600.0
"""How long a request is known again by its Idempotency-Key, or as a repetition."""


class Asked:
    """A request, and by what it is known if it comes again."""

    def __init__(
        self,
        route: str,
        fields: Mapping[str, Any],
        key: str | None,
        repeated: bool,
        *,
        key_id: str | None = None,
        own_only: bool = False,
    ) -> None:
        """`key`: of the header Idempotency-Key; `repeated`: the client says that it sent the same
        before and got no answer; `key_id`: the API key, which may use only its own videos if
        `own_only`."""
        self.key_id, self.own_only = key_id, own_only
        self.fields = fields
        self.key = key
        self.repeated = repeated
        told = json.dumps([route, _printable(fields)], sort_keys=True, default=str)
        self.digest = hashlib.sha256(told.encode()).hexdigest()


def _printable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, files by their digests."""
    return {name: _digested(value) for name, value in fields.items()}


def _digested(value: Any) -> Any:
    if isinstance(value, list):
        return [_digested(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _digested(each) for name, each in value.items()}
    if not isinstance(value, Path):
        return value
    with value.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _MadeMeanwhileError(Exception):
    """The same request came twice at once, and the other one made the film."""

    def __init__(self, film_id: str) -> None:
        super().__init__(film_id)
        self.film_id = film_id


def known(farm: Farm, asked: Asked) -> str | None:
    """The film of the same request that came before. Raises `ApiError` if its key is that of
    another request."""
    with farm.database.read() as connection:
        return _known(connection, asked)


def _known(connection: Connection, asked: Asked) -> str | None:
    if asked.key:
        row = videos.by_key(connection, asked.key, WINDOW_SECONDS, asked.key_id)
        if row and row.digest != asked.digest:
            message = "This Idempotency-Key was used for another request; use a new one."
            raise ApiError(409, message, code="idempotency_conflict", retry=False)
        return row.film_id if row else None
    if asked.repeated:
        row = videos.by_digest(connection, asked.digest, WINDOW_SECONDS, asked.key_id)
        return row.film_id if row else None
    return None


def create(farm: Farm, asked: Asked, folder: Path) -> str:
    """The id of the film that is asked for; its pictures are kept in `folder` meanwhile.

    Raises `ApiError`, `LongreelError`.
    """
    pictures = Pictures(farm, folder)
    wanted = read_wanted(farm, asked.fields, pictures)
    with pictures.naming_fields():
        return _submit(farm, asked, wanted.request, wanted.model, wanted.prompt, None)


def remix(farm: Farm, asked: Asked, of: str) -> str:
    """The id of a film like that of the video `of`, with another prompt."""
    notices = _require_known(farm, asked, "prompt", "video")
    film = _find_own(farm, asked, of)
    prompt = require_prompt(asked.fields)
    request = film.request.replace(
        prompt=prompt,
        scenes=(),
        title=film_from_prompt(prompt, {}).title,
        seconds=film.plan.num_frames / film.plan.fps,
        notices=notices,
    )
    return _submit(farm, asked, request, film.plan.model, prompt, film.id)


def extend(farm: Farm, asked: Asked, of: str, seconds: str) -> str:
    """The id of a film that begins with that of the video `of` and continues with a prompt for
    `seconds`; what is there already is not rendered again."""
    notices = _require_known(farm, asked, "prompt", "video", "seconds")
    film = _find_own(farm, asked, of)
    prompt = require_prompt(asked.fields)
    more = film_from_prompt(prompt, {"seconds": seconds})
    so_far = retaken(film.request, film.plan, {})
    scene = SceneRequest(prompt=prompt, seconds=more.seconds, seam=Seam.CONTINUE)
    request = so_far.replace(scenes=(*so_far.scenes, scene), notices=notices)
    return _submit(farm, asked, request, film.plan.model, prompt, film.id)


def _require_known(farm: Farm, asked: Asked, *known: str) -> tuple[str, ...]:
    return require_known(asked.fields, (*known, "user"), lenient=farm.settings.lenient_fields)


def find(farm: Farm, name: str) -> Film:
    """The film of a video. Raises `NotFoundError`."""
    with farm.database.read() as connection:
        return films.get(connection, film_id(name))


def _find_own(farm: Farm, asked: Asked, name: str) -> Film:
    """The film of a video that a request may use. Raises `NotFoundError`."""
    with farm.database.read() as connection:
        require_own_film(connection, asked.key_id if asked.own_only else None, film_id(name))
        return films.get(connection, film_id(name))


def _submit(
    farm: Farm, asked: Asked, request: FilmRequest, model: str, prompt: str, made_from: str | None
) -> str:
    campaign = Campaign(name=request.title, films=(request,))

    def note(connection: Any, ids: list[str]) -> None:
        videos.lock(connection, asked.key or asked.digest, asked.key_id)
        made = _known(connection, asked)
        if made is not None:
            raise _MadeMeanwhileError(made)
        row = VideoRow(
            film_id=ids[0],
            model=model,
            prompt=prompt,
            made_from=made_from,
            digest=asked.digest,
            key=asked.key,
        )
        videos.insert(connection, [row])

    try:
        (made,) = submit(farm, campaign, also=note, checked=True, key_id=asked.key_id)
    except _MadeMeanwhileError as error:
        return error.film_id
    return made
