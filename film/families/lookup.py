"""Finding a model by the name that a user gives it. Looks at no file."""

from __future__ import annotations

import re

from film.errors import InputError
from film.families import MODELS
from film.models import SINGLE, ModelSpec
from film.types import Struct

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)

LONGEST_NAME = 500
"""Characters; databases bound what they can find quickly."""


class NamedModel(Struct, frozen=True, kw_only=True):
    """A model as a user named it, made out."""

    name: str
    """As it is kept: for `find_model`."""
    notice: str = ""
    """What the user should know of how it was made out."""


def find_model(name: str) -> ModelSpec:
    """The model that `name` means: a row, by its name or its hub id, or `ROW=SOURCE`, a row with
    other weights. Looks at no file.

    Raises `InputError` saying what there is.
    """
    row_name, other, source = name.partition("=")
    row = find_row(row_name)
    if row is None:
        raise InputError(
            f"There is no model {name!r}; the models are: {', '.join(sorted(MODELS))}. "
            f"Other weights of one are NAME=SOURCE."
        )
    return with_weights(row, source) if other else row


def find_row(name: str) -> ModelSpec | None:
    """The row of that name or hub id, None if there is none."""
    of_that_source = (spec for spec in MODELS.values() if spec.source == name)
    return MODELS.get(name) or next(of_that_source, None)


def with_weights(row: ModelSpec, source: str) -> ModelSpec:
    """The row with weights from `source`, a hub id or an absolute path, called as the row is.

    Raises `InputError` if `source` is neither, or if the row cannot be loaded from it.
    """
    if source == row.source:
        return row
    name = f"{row.name}={source}"
    local = source.startswith("/")
    require_source(row, source)
    if not local and not _HUB_ID.fullmatch(source):
        raise InputError(
            f"{source!r} is not a source of weights for {row.name}: name a repository of the hub "
            f"(org/name), or a folder or {SINGLE} file that is there."
        )
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(
            f"The name of the weights for {row.name} is longer than {LONGEST_NAME} characters, or "
            f"holds some that cannot be printed: move or rename them."
        )
    return row.replace(
        name=name,
        row=row.name,
        source=source,
        branch=None,
        title=f"{row.title}; weights from {source}",
        licence="its authors' licence",
        licence_source="" if local else f"https://huggingface.co/{source}",
        memory="",
    )


def require_source(row: ModelSpec, source: str) -> None:
    """Raises `InputError` if the row cannot be loaded from such a source, wherever it is stored."""
    if source.endswith(".gguf"):
        raise InputError(f"{source} is a GGUF file, which cannot be rendered with: give {SINGLE}.")
    if source.endswith(SINGLE) and not row.single_file:
        why = "has two transformers" if row.experts else "cannot be loaded from one file"
        raise InputError(
            f"The model {row.name} {why}: give a folder with all its parts, as diffusers saves "
            f"them, instead of {source}."
        )


def as_named(text: str) -> NamedModel:
    """The model that a name means which is read without looking at files."""
    return NamedModel(name=find_model(text).name)
