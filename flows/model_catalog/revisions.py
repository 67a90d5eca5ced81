"""The models of the farm: which revision is rendered with, and which weights are here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy.engine import Connection

from db import model_pins
from db.segments.work_kinds import weights_of
from film.errors import InputError
from film.families import MODELS
from film.families.lookup import find_model
from film.models import ModelSpec
from film.types import Plan, Struct
from flows.farm import Farm
from renderer.weights import weight_store


class ModelState(Struct, frozen=True, kw_only=True):
    """A model as it stands."""

    spec: ModelSpec
    revision: str | None
    """The revision that the farm renders with; None if none was pulled yet."""
    here: bool
    """True if its weights are on this machine."""


def states(farm: Farm) -> list[ModelState]:
    """All rows, and what else the farm renders with."""
    pinned = _pins(farm)
    others = [find_model(name) for name in sorted(pinned) if name not in MODELS]
    return [_state(farm, spec, pinned) for spec in (*MODELS.values(), *others)]


def revision_of(farm: Farm, name: str) -> str:
    """The revision that a film of the model `name` is rendered with.

    Raises `InputError` if the farm has none yet, or if local weights are not as they should be.
    """
    return _revision(farm, find_model(name), _pins(farm))


def _revision(farm: Farm, spec: ModelSpec, pinned: Mapping[str, str]) -> str:
    if spec.bundled:
        return weight_store.bundled_revision(spec)
    if spec.local:
        base = _revision(farm, find_model(spec.row), pinned) if spec.in_one_file else ""
        return weight_store.local_revision(spec, base, farm.settings.home)
    revision = pinned.get(spec.name)
    if revision is None:
        raise InputError(
            f"The farm has no weights of {spec.name!r} yet: "
            f"`longreel models pull {shlex.quote(spec.name)}` fetches them from {spec.source} "
            f"({spec.licence})."
        )
    return revision


def pull(
    farm: Farm,
    name: str,
    revision: str | None,
    *,
    pinning: bool = True,
    on_start: Callable[[int, int], None] = lambda files, size_bytes: None,
) -> ModelState:
    """Fetches the weights of `name` to this machine.

    The revision is `revision` if given, else the one that the farm renders with, else the newest;
    with `pinning` the farm renders with it from then on. `on_start` as in `weight_store.pull`.
    Raises `InputError`.
    """
    spec = find_model(name)
    if spec.bundled or spec.local:
        if revision:
            where = "comes with Longreel" if spec.bundled else "lies on this machine"
            raise InputError(f"The model {name!r} {where}; it has no other revisions.")
        commit = revision_of(farm, name)
    else:
        pinned = _pins(farm).get(spec.name)
        wanted = revision or pinned
        commit = pinned if pinned and wanted == pinned else weight_store.resolve(spec, wanted)
        weight_store.pull(spec, commit, farm.settings.home, on_start)
    if pinning and not spec.bundled:
        with farm.database.write() as connection:
            pin(connection, spec.name, commit)
    return _state(farm, spec, {spec.name: commit})


def note_local(connection: Connection, plans: Iterable[Plan]) -> None:
    """Pins the weights of films that are in folders and files of the user."""
    for name, revision in {plan.model: plan.revision for plan in plans}.items():
        if find_model(name).local:
            pin(connection, name, revision)


def pin(connection: Connection, name: str, revision: str) -> None:
    """Pins a revision, unless it is pinned already."""
    if model_pins.pins(connection).get(name) != revision:
        model_pins.pin(connection, name, revision)


def weights_here(
    farm: Farm, names: Iterable[str] | None, *, reading: bool = True
) -> tuple[str, ...]:
    """The weights that are on this machine, as `db.segments.work_kinds.weights_of` writes them.

    Of the models `names`; None: of all that the farm knows. With `reading` False, local weights
    are left out that would have to be read first.
    """
    if names is None:
        names = [*MODELS, *(name for name in sorted(_pins(farm)) if name not in MODELS)]
    home = farm.settings.home
    return tuple(
        weights_of(name, revision)
        for name in names
        for revision in weight_store.revisions_here(find_model(name), home, reading=reading)
    )


def _pins(farm: Farm) -> dict[str, str]:
    """The pinned revisions; creates no database if there is none."""
    if farm.is_new:
        return {}
    with farm.database.read() as connection:
        return model_pins.pins(connection)


def _state(farm: Farm, spec: ModelSpec, pinned: Mapping[str, str]) -> ModelState:
    if spec.bundled:
        return ModelState(spec=spec, revision=weight_store.bundled_revision(spec), here=True)
    revision = pinned.get(spec.name)
    here = revision is not None and weight_store.is_here(spec, revision, farm.settings.home)
    return ModelState(spec=spec, revision=revision, here=here)
