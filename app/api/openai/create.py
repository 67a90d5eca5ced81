"""Requests for videos become films, once each."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.api.openai import fields as read
from app.api.openai.errors import ApiError
from app.api.openai.objects import film_id
from db.films import films, videos
from db.films.films import Film
from db.films.videos import VideoRow
from film.errors import InputError
from film.families.lookup import as_named
from film.reading.film import film_from_prompt
from film.settings import Settings
from film.types import Campaign, FilmRequest, SceneRequest, Seam
from flows.farm import Farm
from flows.submission.retake import retaken
from flows.submission.submit import submit

MOST_SEED = 2**31
WINDOW_SECONDS = 24 * 3600.0
"""How long a request is known again by its Idempotency-Key, or as a repetition."""


class Asked:
    """A request, and by what it is known if it comes again."""

    def __init__(
        self, route: str, fields: Mapping[str, Any], key: str | None, repeated: bool
    ) -> None:
        """`key`: of the header Idempotency-Key; `repeated`: the client says that it sent the same
        before and got no answer."""
        self.fields = fields
        self.key = key
        self.repeated = repeated
        told = json.dumps([route, _printable(fields)], sort_keys=True, default=str)
        self.digest = hashlib.sha256(told.encode()).hexdigest()


def _printable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, files by their digests."""
    return {
        name: hashlib.sha256(value.read_bytes()).hexdigest() if isinstance(value, Path) else value
        for name, value in fields.items()
    }


def known(farm: Farm, asked: Asked) -> str | None:
    """The film of the same request that came before. Raises `ApiError` if its key is that of
    another request."""
    with farm.database.read() as connection:
        if asked.key:
            row = videos.by_key(connection, asked.key, WINDOW_SECONDS)
            if row and row.digest != asked.digest:
                message = "This Idempotency-Key was used for another request; use a new one."
                raise ApiError(409, message, code="idempotency_conflict", retry=False)
            return row.film_id if row else None
        if asked.repeated:
            row = videos.by_digest(connection, asked.digest, WINDOW_SECONDS)
            return row.film_id if row else None
    return None


def create(farm: Farm, asked: Asked) -> str:
    """The id of the film that is asked for. Raises `ApiError`, `LongreelError`."""
    fields = read.flat(asked.fields)
    prompt = _prompt(fields)
    options = read.film_options(fields)
    name = str(options.get("model", ""))
    options["model"] = model_of(name, farm.settings)
    _require_model(options["model"])
    # Two requests for the same words are two videos.
    options.setdefault("seed", secrets.randbelow(MOST_SEED))
    for field in ("input_reference", "last_image"):
        if field in fields:
            options["image" if field == "input_reference" else field] = _picture(fields, field)
    request = film_from_prompt(prompt, options)
    return _submit(farm, asked, request, name or request.settings.model, prompt, None)


def remix(farm: Farm, asked: Asked, of: str) -> str:
    """The id of a film like that of the video `of`, with another prompt."""
    film = find(farm, of)
    prompt = _prompt(asked.fields)
    request = film.request.replace(
        prompt=prompt,
        scenes=(),
        title=film_from_prompt(prompt, {}).title,
        seconds=film.plan.num_frames / film.plan.fps,
    )
    return _submit(farm, asked, request, film.plan.model, prompt, film.id)


def extend(farm: Farm, asked: Asked, of: str, seconds: str) -> str:
    """The id of a film that begins with that of the video `of` and continues with a prompt for
    `seconds`; what is there already is not rendered again."""
    film = find(farm, of)
    prompt = _prompt(asked.fields)
    more = film_from_prompt(prompt, {"seconds": seconds})
    so_far = retaken(film.request, film.plan, {})
    scene = SceneRequest(prompt=prompt, seconds=more.seconds, seam=Seam.CONTINUE)
    request = so_far.replace(scenes=(*so_far.scenes, scene))
    return _submit(farm, asked, request, film.plan.model, prompt, film.id)


def find(farm: Farm, name: str) -> Film:
    """The film of a video. Raises `NotFoundError`."""
    with farm.database.read() as connection:
        return films.get(connection, film_id(name))


def model_of(name: str, settings: Settings) -> str | None:
    """The model that a name means on this farm; None for the farm's usual one."""
    return settings.api_model_names.get(name, name) or None


def _require_model(name: str | None) -> None:
    try:
        as_named(name or "demo")
    except InputError as error:
        message = f"{error} Other names for them are set with LONGREEL_API_MODELS."
        raise ApiError(400, message, param="model", code="model_not_found") from None


def _prompt(fields: Mapping[str, Any]) -> str:
    prompt = fields.get("prompt", "")
    if not isinstance(prompt, str | None):
        raise InputError("prompt: expected text")
    prompt = (prompt or "").strip()
    if not prompt:
        message = "prompt: a video needs a prompt with text in it"
        raise ApiError(400, message, param="prompt", code="missing_required_parameter")
    return prompt


def _picture(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Path):
        return str(value)
    raise InputError(f"{name}: send one picture as a file, or as a data: URL")


def _submit(
    farm: Farm, asked: Asked, request: FilmRequest, model: str, prompt: str, made_from: str | None
) -> str:
    campaign = Campaign(name=request.title, films=(request,))

    def note(connection: Any, ids: list[str]) -> None:
        videos.insert(
            connection,
            VideoRow(
                film_id=ids[0],
                model=model,
                prompt=prompt,
                made_from=made_from,
                digest=asked.digest,
                key=asked.key,
            ),
        )

    (made,) = submit(farm, campaign, also=note, checked=True)
    return made
