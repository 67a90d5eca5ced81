"""The film that a request for a video asks for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from app.api.openai.errors import ApiError
from app.api.openai.fields import read_fields, read_json
from app.api.openai.film_options import film_options
from app.api.openai.pictures import Pictures
from db import characters, model_pins
from film.errors import InputError, NotFoundError
from film.families.lookup import find_model
from film.models import ModelSpec
from film.reading.film import film_from_prompt
from film.settings import Settings
from film.types import FilmRequest, Struct
from flows.farm import Farm

MOST_SEED = 2**31
DEFAULT_MODEL = "demo"
PICTURES = {"input_reference": "image", "last_image": "last_image"}
"""Options of a film by the fields whose pictures they take."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A film, and what its client will find in the video."""

    request: FilmRequest
    prompt: str
    model: str
    """The model by the name that the client gave."""


def read_wanted(farm: Farm, given: Mapping[str, Any], pictures: Pictures) -> Wanted:
    """Reads the film that the fields of a request ask for; its pictures are put into files.

    Raises `ApiError`, `InputError`, `StoreError`.
    """
    found = read_fields(given, lenient=farm.settings.lenient_fields)
    fields = found.fields
    prompt = require_prompt(fields)
    name = fields.get("model", "")
    spec = _find_model(farm, name)
    options = film_options(fields, spec) | {"model": spec.name}
    # Two requests for the same words are two videos.
    options.setdefault("seed", secrets.randbelow(MOST_SEED))
    film_from_prompt(prompt, options)  # what is wrong is found before anything is fetched
    if fields.get("characters", []) not in ([], "[]"):
        options["image"] = _character_image(farm, fields, spec)
    for field, option in PICTURES.items():
        if field in fields:
            options[option] = str(pictures.place(fields[field], field))
    request = film_from_prompt(prompt, options)
    request = request.replace(notices=(*request.notices, *found.notices))
    return Wanted(request=request, prompt=prompt, model=name or spec.name)


def _character_image(farm: Farm, fields: Mapping[str, Any], spec: ModelSpec) -> str:
    """The digest of the picture of the character that a film is to show. Raises `InputError`."""
    named = read_json(fields["characters"])
    named = named if isinstance(named, list) else [named]
    ids = [one.get("id") if isinstance(one, Mapping) else one for one in named]
    if len(ids) != 1 or not isinstance(ids[0], str):
        raise InputError(
            'characters: give one, as [{"id": "char_…"}]; the film begins with its picture'
        )
    if "input_reference" in fields:
        raise InputError(
            "characters: the film begins with input_reference already; leave one of them out"
        )
    if not spec.takes(1, last=False):
        raise InputError(
            f"characters: the model {spec.name!r} takes no first picture, with which a film shows "
            f"a character"
        )
    try:
        with farm.database.read() as connection:
            return characters.get(connection, ids[0]).image
    except NotFoundError as error:
        raise InputError(f"characters: {error}") from None


def require_prompt(fields: Mapping[str, Any]) -> str:
    """The prompt of a request. Raises `InputError`, and `ApiError` if there is none."""
    prompt = fields.get("prompt", "")
    if not isinstance(prompt, str | None):
        raise InputError("prompt: expected text")
    prompt = (prompt or "").strip()
    if not prompt:
        message = "prompt: a video needs a prompt with text in it"
        raise ApiError(400, message, param="prompt", code="missing_required_parameter")
    return prompt


def model_of(name: str, settings: Settings) -> str:
    """The model that a name means on this farm."""
    return settings.api_model_names.get(name, name) or DEFAULT_MODEL


def _find_model(farm: Farm, name: Any) -> ModelSpec:
    try:
        if not isinstance(name, str):
            raise InputError("model: expected text")
        spec = find_model(model_of(name, farm.settings))
        if spec.local and not _is_pinned(farm, spec.name):
            raise InputError(f"There is no model {name!r}: files of the server cannot be named.")
    except InputError as error:
        message = f"{error} Other names for them are set with LONGREEL_API_MODELS."
        raise ApiError(400, message, param="model", code="model_not_found") from None
    return spec


def _is_pinned(farm: Farm, name: str) -> bool:
    with farm.database.read() as connection:
        return name in model_pins.pins(connection)
