"""The models of the farm: which revision is rendered with, and which weights are here."""

from __future__ import annotations

from collections.abc import Iterable

from db import models
from film.errors import InputError
from film.families import MODELS
from film.models import ModelSpec, find_model
from film.types import Struct
from flows.wiring import Farm
from renderer import weights


class ModelState(Struct, frozen=True, kw_only=True):
    """A model as it stands."""

    spec: ModelSpec
    revision: str | None
    """That the farm renders with; None where none was pulled yet."""
    here: bool
    """Whether its weights are on this machine."""


def states(farm: Farm) -> list[ModelState]:
    """All models."""
    pinned = _pins(farm)
    return [_state(farm, spec, pinned) for spec in MODELS.values()]


def revision_of(farm: Farm, name: str) -> str:
    """The revision that a film of the model `name` is rendered with.

    Raises `InputError` where the farm has none yet.
    """
    spec = find_model(name)
    if spec.bundled:
        return weights.bundled_revision(spec)
    revision = _pins(farm).get(spec.name)
    if revision is None:
        raise InputError(
            f"The farm has no weights of {name!r} yet: `longreel models pull {spec.name}` "
            f"fetches them from {spec.source} ({spec.licence})."
        )
    return revision


def pull(farm: Farm, name: str, revision: str | None) -> ModelState:
    """Fetches the weights of `name` to this machine.

    Of `revision` where given, which the farm then renders with; else of the one it renders with,
    else of the newest. Raises `InputError`.
    """
    spec = find_model(name)
    if spec.bundled:
        if revision:
            raise InputError(f"The model {name!r} comes with Longreel; it has no other revisions.")
        return _state(farm, spec, {})
    pinned = _pins(farm).get(spec.name)
    wanted = revision or pinned
    commit = pinned if pinned and wanted == pinned else weights.resolve(spec, wanted)
    weights.pull(spec, commit, farm.settings.home)
    if commit != pinned:
        with farm.database.write() as connection:
            models.pin(connection, spec.name, commit)
    return _state(farm, spec, {spec.name: commit})


def present(farm: Farm, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` whose weights are on this machine."""
    pinned = _pins(farm)
    return tuple(name for name in names if _state(farm, find_model(name), pinned).here)


def _pins(farm: Farm) -> dict[str, str]:
    """The pinned revisions; asking makes no database where there is none."""
    if farm.is_new:
        return {}
    with farm.database.read() as connection:
        return models.pins(connection)


def _state(farm: Farm, spec: ModelSpec, pinned: dict[str, str]) -> ModelState:
    if spec.bundled:
        return ModelState(spec=spec, revision=weights.bundled_revision(spec), here=True)
    revision = pinned.get(spec.name)
    here = revision is not None and weights.is_here(spec, revision, farm.settings.home)
    return ModelState(spec=spec, revision=revision, here=here)
