"""Weights that the user has in a folder, or in a file: what they are, and whether they can be
rendered with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from film.errors import InputError
from film.models import SINGLE, ModelSpec
from renderer.weights import file_hashes
from renderer.weights.pipeline_files import INDEX, files_of
from renderer.weights.pipeline_packages import package_of
from renderer.weights.safetensors_headers import require_transformer, tensors_in

DIGITS = 40
"""Digits of a revision: as many as a commit has."""
UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt")
"""Weights that may hold code."""


def pipeline_in(folder: Path) -> str:
    """The class of the pipeline in a folder. Raises `InputError` if there is none."""
    name = _index(folder).get("_class_name")
    if not isinstance(name, str) or package_of(name) is None:
        raise InputError(
            f"{folder / INDEX} names no pipeline of diffusers: code of others is not run."
        )
    return name


def require_fit(spec: ModelSpec) -> None:
    """Raises `InputError` if the weights at the path of `spec` cannot be rendered with as its row
    is."""
    path = Path(spec.source)
    if spec.in_one_file:
        require_transformer(path)
        return
    saved = pipeline_in(path)
    wanted = set(spec.calling.pipelines.values())
    if package_of(saved) not in {package_of(name) for name in wanted}:
        raise InputError(
            f"{path} holds a {saved}, and {spec.row} is rendered with {', '.join(sorted(wanted))}: "
            f"name a row of its kind (`longreel models`)."
        )
    _files(path)


def revision(spec: ModelSpec, home: Path, *, reading: bool = True) -> str | None:
    """Digest (40 hex digits) of all that diffusers loads from the path of `spec`; None if a large
    file would have to be read and `reading` is False.

    Raises `InputError` if there is nothing that can be loaded.
    """
    path = Path(spec.source)
    try:
        if spec.in_one_file:
            tensors_in(path)
            found = file_hashes.of_files([path], home, reading=reading)
            return found[0][:DIGITS] if found else None
        names = _files(path)
        found = file_hashes.of_files([path / name for name in names], home, reading=reading)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from None
    if found is None:
        return None
    lines = "".join(f"{digest} {name}\n" for name, digest in zip(names, found, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGITS]


def _index(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} with weights on this machine.")
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is not a diffusers pipeline: it has no {INDEX}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / INDEX} cannot be read: {error}.") from None
    if not isinstance(index, dict):
        raise InputError(f"{folder / INDEX} is not a list of a pipeline's components.")
    return index


def _files(folder: Path) -> list[str]:
    """The files that are loaded from a folder, by name, sorted. Raises `InputError` if a part is
    missing, or exists only in a format that may hold code."""
    index = _index(folder)
    names = [name for part in index for name in _below(folder, part)]
    files = files_of(index, names)
    parts = {name.partition("/")[0] for name in files_of(index, (f"{n}/a.json" for n in index))}
    for part in sorted(parts - {INDEX}):
        _require_part(folder, part, files)
    return sorted(files)


def _below(folder: Path, part: str) -> Iterator[str]:
    found = (folder / part).rglob("*") if Path(part).name == part else ()
    return (path.relative_to(folder).as_posix() for path in found if path.is_file())


def _require_part(folder: Path, part: str, files: list[str]) -> None:
    mine = [name for name in files if name.startswith(f"{part}/")]
    if not mine:
        raise InputError(f"{folder} has no {part}, which its {INDEX} names: it is not whole.")
    if f"{part}/config.json" not in mine:  # a tokenizer or a scheduler has no weights
        return
    shards = {f"{part}/{shard}" for name in mine for shard in _shards(folder / name)}
    if shards - set(mine):
        raise InputError(f"{folder} has not all of {part}: {min(shards - set(mine))} is missing.")
    if any(name.endswith(SINGLE) for name in mine):
        return
    if any(found for pattern in UNSAFE for found in (folder / part).glob(pattern)):
        raise InputError(
            f"{folder / part} has weights only in a format that may hold code: save them as "
            f"{SINGLE}."
        )
    raise InputError(f"{folder / part} has no {SINGLE} file of its weights (or only rounded ones).")


def _shards(listing: Path) -> list[str]:
    """The files that an index of weights in several files names."""
    if not listing.name.endswith(f"{SINGLE}.index.json"):
        return []
    try:
        return list(json.loads(listing.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise InputError(f"{listing} cannot be read as a list of weights.") from None
