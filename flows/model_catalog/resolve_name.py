"""Models as users name them, made out by looking at what is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from film.errors import InputError
from film.families import MODELS
from film.families.lookup import NamedModel, find_model, find_row, require_source, with_weights
from film.models import SINGLE, ModelSpec
from renderer.weights import local_weights
from renderer.weights.pipeline_packages import package_of


def naming(folder: Path) -> Callable[[str], NamedModel]:
    """Finds out which model a text means; paths count from `folder`.

    The function raises `InputError` if there is no such model, or if the weights at a path cannot
    be rendered with.
    """

    @cache
    def name(text: str) -> NamedModel:
        row = find_row(text)
        if row is not None:
            return NamedModel(name=row.name)
        row_name, other, source = text.partition("=")
        row = find_row(row_name) if other else None
        if row is not None:
            return NamedModel(name=_other(row, source, folder).name)
        path = placed(text, folder)
        if _means_path(text, path):
            return _by_its_class(path)
        if text.count("/") == 1 and not other:
            raise InputError(
                f"Which row {text} is like cannot be known without it: name one, as in "
                f"ROW={text} (`longreel models` lists the rows)."
            )
        return NamedModel(name=find_model(text).name)

    return name


def placed(text: str, folder: Path) -> Path:
    """The absolute path that `text` means, counted from `folder`.

    Links in it stay as they are: one to the weights in use is a name that is meant to stay.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # the home of an unknown user
        path = Path(text)
    return Path(os.path.normpath((folder / path).absolute()))


def _other(row: ModelSpec, source: str, folder: Path) -> ModelSpec:
    """The row with weights from `source`, which is examined if it is a path."""
    require_source(row, source)
    path = placed(source, folder)
    if not _means_path(source, path):
        return with_weights(row, source)
    return _at(row, path)


def _at(row: ModelSpec, path: Path) -> ModelSpec:
    if not path.exists():
        raise InputError(f"There is no folder or file {path}.")
    if path.is_dir() == path.name.endswith(SINGLE):
        raise InputError(f"{path} should be a folder, or a file whose name ends in {SINGLE}.")
    spec = with_weights(row, str(path))
    local_weights.require_fit(spec)
    return spec


def _by_its_class(path: Path) -> NamedModel:
    """A folder without the name of a row: the first row that its pipeline is one of."""
    if path.name.endswith(".gguf"):
        require_source(next(iter(MODELS.values())), path.name)
    if path.is_file():
        raise InputError(
            f"Which row {path} belongs to is not known from one file: name it, as in ROW={path} "
            f"(`longreel models` lists the rows)."
        )
    saved = local_weights.pipeline_in(path)
    rows = _rows_for(saved)
    if not rows:
        raise InputError(f"No model is rendered with a {saved}, which {path} holds.")
    notice = f"{path} holds a {saved}, and is rendered as {rows[0].name} is"
    if len(rows) > 1:
        others = ", ".join(row.name for row in rows[1:])
        notice += f"; name another row as in {rows[1].name}={path} (also: {others})"
    return NamedModel(name=_at(rows[0], path).name, notice=notice + ".")


def _rows_for(saved: str) -> list[ModelSpec]:
    """The rows with such a pipeline, then those with another one of the same kind.

    Not the demo model: other weights of its class know more than its few words.
    """
    rows = [row for row in MODELS.values() if not row.closed_world]
    same = [row for row in rows if saved in row.calling.pipelines.values()]
    kin = [
        row
        for row in rows
        if any(package_of(name) == package_of(saved) for name in row.calling.pipelines.values())
    ]
    return same + [row for row in kin if row not in same]


def _means_path(text: str, path: Path) -> bool:
    """True if a path is meant rather than a repository of the hub: it has the form of one, or
    exists."""
    try:
        there = path.exists()
    except (OSError, ValueError):
        return False
    return there or text.startswith(("/", "./", "../", "~")) or text.endswith(SINGLE)
