"""A folder with the files of delivered films."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from app.actions.protocol import Actions
from app.actions.values import Deliverable
from film.errors import InputError, LongreelError, StoreError, StoreUnreachableError
from film.types import FilmStatus, Struct

LOOK_SECONDS = 2.0
"""Pause between two looks for films that were delivered meanwhile."""


class Synced(Struct, frozen=True, kw_only=True):
    """What became of one film in a folder."""

    id: str
    status: FilmStatus
    path: str
    sha256: str | None
    fetched: bool = False
    """True if it was fetched now, False if it was there."""
    problem: str | None = None
    """Why it is not there; None if it is."""


def create_folder(folder: Path) -> None:
    """Creates a folder and those above it. Raises `InputError`."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be created: {error.strerror}.") from None


def place_in(folder: Path, file_name: str) -> Path:
    """The path of a film's file, whose folder is created.

    Raises `InputError` for a name that leads out of the folder: a service is not trusted with it.
    """
    name = PurePosixPath(file_name)
    unsafe = any(part in ("", ".", "..") or "\\" in part for part in file_name.split("/"))
    if name.is_absolute() or unsafe or not file_name.isprintable():
        raise InputError(f"The file name {file_name!r} leads out of the folder; it is not used.")
    path = folder.joinpath(*name.parts)
    create_folder(path.parent)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path.parent} is a link that leads out of {folder}; remove the link.")
    return path


def sync_folder(
    farm: Actions,
    name: str,
    folder: Path,
    pattern: str | None = None,
    *,
    follow: bool = False,
    report: Callable[[Synced], None] = lambda synced: None,
    note: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Synced]:
    """Fetches the delivered films that the folder does not have; nothing is removed or replaced.

    With `follow`, until all films are finished: what is away meanwhile is waited for, and `note`
    receives a sentence about it. `report` is called once for each film that is delivered. Raises
    `InputError`, and unless `follow` what `Actions` raises.
    """
    create_folder(folder)
    done: dict[str, Synced] = {}
    away = False
    said: set[str] = set()
    while True:
        try:
            films = _fetch_new(farm, name, folder, pattern, done, report)
            away = False
        except LongreelError as error:
            if not (follow and error.transient):
                raise
            if not away:
                note(f"{error} It is waited for.")
            films, away = None, True
        if films is not None and (not follow or all(film.status.final for film in films)):
            return [done.get(film.id) or _absent(film, folder) for film in films]
        if films is not None:
            _say_why(farm, name, said, note)
        sleep(LOOK_SECONDS * (1 + len(films or ()) / 100))


def _say_why(farm: Actions, name: str, said: set[str], note: Callable[[str], None]) -> None:
    """Reports once why films do not move."""
    try:
        rows = farm.films_of(name)
    except LongreelError as error:
        if not error.transient:
            raise
        return  # the next look finds out that the farm is away
    for row in rows:
        if row.status is FilmStatus.WAITING and row.waiting and row.waiting not in said:
            said.add(row.waiting)
            note(f"{row.id} waits: {row.waiting}.")


def _fetch_new(
    farm: Actions,
    name: str,
    folder: Path,
    pattern: str | None,
    done: dict[str, Synced],
    report: Callable[[Synced], None],
) -> Sequence[Deliverable]:
    films = farm.deliverables(name, pattern)
    for film in films:
        if film.status is FilmStatus.DELIVERED and film.id not in done:
            done[film.id] = _sync(farm, film, folder)
            report(done[film.id])
    return films


def _sync(farm: Actions, film: Deliverable, folder: Path) -> Synced:
    path = place_in(folder, film.file_name)
    found = Synced(id=film.id, status=film.status, path=str(path), sha256=film.sha256)
    try:
        if path.exists():
            return found.replace(problem=_difference(path, film))
        farm.fetch(film, path)
    except StoreUnreachableError:
        raise
    except StoreError as error:
        return found.replace(problem=f"{error} `longreel requeue {film.id}` makes it again.")
    return found.replace(fetched=True)


def _absent(film: Deliverable, folder: Path) -> Synced:
    return Synced(
        id=film.id,
        status=film.status,
        path=str(folder / film.file_name),
        sha256=None,
        problem=f"It is {film.status}.",
    )


def _difference(path: Path, film: Deliverable) -> str | None:
    """Why the file is not the film; None if it is."""
    other = f"{path} is another file than the film; it stays. Move it away to have the film."
    try:
        if not path.is_file() or path.stat().st_size != film.size_bytes:
            return other
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."
    return None if digest == film.sha256 else other
