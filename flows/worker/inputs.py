"""The files that a segment is rendered from, fetched from the store to this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from db.films.films import Film
from db.segments import takes
from film.errors import (
    InputError,
    ObjectMissingError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)
from film.models import SINGLE
from film.types import JobFiles, Lora, LoraFile
from flows.farm import Farm
from flows.take_files import fetch_tail
from storage import keys

KEPT_LORAS = 8
"""LoRAs that a process keeps on its disk between segments; the largest have a gigabyte."""


def fetch_inputs(farm: Farm, film: Film, position: int, folder: Path) -> JobFiles:
    """Fetches what the segment at `position` of `film` needs; all but LoRAs into `folder`.

    Raises `ObjectMissingError` after forgetting a take whose tail is missing or damaged,
    `InputError` if a file that the user submitted is, and `StoreUnreachableError`.
    """
    segment = film.plan.segments[position]
    tail = None
    if segment.continues is not None:
        tail = folder / "before.mkv"
        _fetch_tail(farm, film.plan.segments[segment.continues].address, tail)
    return JobFiles(
        tail=str(tail) if tail else None,
        image=_fetch_image(farm, segment.image, folder),
        last_image=_fetch_image(farm, segment.last_image, folder),
        loras=fetch_loras(farm, film.plan.loras),
    )


def fetch_loras(farm: Farm, loras: Sequence[Lora]) -> tuple[LoraFile, ...]:
    """The files of `loras` on this machine, from the store if they are not here yet.

    Raises `InputError` if one is missing from the store, because only the user can upload it again.
    """
    if not loras:
        return ()
    folder = farm.scratch.open() / "loras"
    folder.mkdir(exist_ok=True)
    files = [folder / f"{lora.digest}{SINGLE}" for lora in loras]
    for lora, path in zip(loras, files, strict=True):
        if not path.exists():
            _fetch_submitted(farm, keys.lora(lora.digest), path, f"The LoRA {lora.name}")
        path.touch()
    _remove_oldest(folder, files)
    return tuple(
        LoraFile(lora=lora, path=str(path)) for lora, path in zip(loras, files, strict=True)
    )


def _fetch_tail(farm: Farm, address: str, path: Path) -> None:
    with farm.database.read() as connection:
        take = takes.find(connection, address)
    if take is None:  # another process found it damaged in this moment
        raise ObjectMissingError(f"The take {address} is being rendered again.")
    try:
        fetch_tail(farm.store, take, path)
    except (StoreUnreachableError, StoreFullError):
        raise
    except StoreError as error:
        with farm.database.write() as connection:
            takes.forget(connection, address, take.video_key)
        raise ObjectMissingError(str(error)) from error


def _fetch_image(farm: Farm, digest: str, folder: Path) -> str | None:
    if not digest:
        return None
    path = folder / f"{digest}.png"
    name = f"The picture {digest[:8]} that this film is rendered from"
    _fetch_submitted(farm, keys.image(digest), path, name)
    return str(path)


def _fetch_submitted(farm: Farm, key: str, path: Path, name: str) -> None:
    """Fetches a file that came with a film. Raises `InputError` if it is missing or damaged."""
    try:
        farm.store.get_file(key, path)
    except (StoreUnreachableError, StoreFullError):
        raise
    except StoreError as error:
        raise InputError(
            f"{name} is missing from the store, or damaged: submit the film again, which uploads "
            f"it again ({error})."
        ) from error


def _remove_oldest(folder: Path, needed: Sequence[Path]) -> None:
    """Removes the LoRAs that were not used for longest."""
    others = [path for path in folder.glob(f"*{SINGLE}") if path not in needed]
    others.sort(key=lambda path: path.stat().st_mtime)
    for path in others[: max(0, len(others) + len(needed) - KEPT_LORAS)]:
        path.unlink(missing_ok=True)
