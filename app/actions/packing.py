"""A campaign with the files that it names, as it is sent to a service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from film.errors import InputError
from film.reading.written import write_campaign
from film.types import Campaign, FilmRequest, Lora, SceneRequest

Part = TypeVar("Part", FilmRequest, SceneRequest)
MOST_FILES = 500
"""Files that a campaign may bring."""


@contextmanager
def packed(campaign: Campaign) -> Iterator[dict[str, Any]]:
    """What a request with the campaign has: its body, or a form with the files that are named by
    absolute paths, open in the block.

    Raises `InputError` for a picture or LoRA that cannot be read.
    """
    files = _Files()
    named = campaign.replace(films=tuple(map(files.named, campaign.films)))
    text = write_campaign(named)
    with form_of(text, files.paths) as request:
        yield request


@contextmanager
def form_of(text: str, files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """What a request with a campaign in JSON has, and with files by the names in it.

    Raises `InputError` for a file that cannot be read.
    """
    if not files:
        yield {"content": text.encode(), "headers": {"content-type": "application/json"}}
        return
    with ExitStack() as stack:
        parts: list[tuple[str, Any]] = [
            ("campaign", ("campaign.json", text.encode(), "application/json"))
        ]
        for path in files.values():
            file = stack.enter_context(_open(path))
            parts.append(("files", (f"file-{len(parts)}", file, "application/octet-stream")))
        # Names of files in forms cannot hold every character.
        yield {"files": parts, "data": {"names": json.dumps(list(files))}}


class _Files:
    """The files of a campaign by the names that they get."""

    def __init__(self) -> None:
        self.paths: dict[str, Path] = {}
        self._names: dict[Path, str] = {}

    def named(self, film: FilmRequest) -> FilmRequest:
        """`film` with the names of its files for their paths."""
        loras = tuple(map(self._lora, film.settings.loras))
        film = film.replace(settings=film.settings.replace(loras=loras))
        return self._pictures(film).replace(scenes=tuple(map(self._pictures, film.scenes)))

    def _pictures(self, part: Part) -> Part:
        return part.replace(image=self._name(part.image), last_image=self._name(part.last_image))

    def _lora(self, lora: Lora) -> Lora:
        if not Path(lora.name).is_absolute():
            return lora  # of the hub
        return lora.replace(name=self._name(lora.name))

    def _name(self, text: str) -> str:
        if not text:
            return text
        path = Path(text)
        if path not in self._names:
            if len(self._names) == MOST_FILES:
                raise InputError(
                    f"The campaign names more than {MOST_FILES} files; submit it in parts."
                )
            _require_file(path)
            name = path.name if path.name not in self.paths else f"{len(self.paths)}/{path.name}"
            self._names[path], self.paths[name] = name, path
        return self._names[path]


def _require_file(path: Path) -> None:
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError(f"There is no file {path}.")


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
