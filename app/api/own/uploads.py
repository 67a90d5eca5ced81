"""Campaigns in requests: a file by itself, or a form with the pictures and LoRAs that it names."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.api.bodies import read_body
from app.api.body_limits import MOST_BYTES, MOST_CAMPAIGN_BYTES
from film.errors import InputError
from film.loras import hub_place
from film.types import FilmRequest, Lora, SceneRequest
from flows.farm import Farm, require_space
from flows.file_names import safe_name
from media.atomic_files import raise_if_full

ENDINGS = {
    "application/json": ".json",
    "application/yaml": ".yaml",
    "application/x-yaml": ".yaml",
    "text/yaml": ".yaml",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "text/csv": ".csv",
}
"""The endings of files with these types of content."""
FORM = "multipart/form-data"
MOST_FILES = 500
Part = TypeVar("Part", FilmRequest, SceneRequest)


@dataclass(frozen=True)
class Upload:
    """A campaign as it was sent."""

    text: str
    source: str
    """What errors call it; its ending says which form it has."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The files that came with it, by the names that it may give them."""

    def placed(self, film: FilmRequest, number: int) -> FilmRequest:
        """`film` with the paths of files that came with it for their names.

        Raises `InputError` for a file that did not: its name would be one of the server's.
        """
        loras = tuple(self._lora(lora, number) for lora in film.settings.loras)
        film = self._pictures(film, number)
        scenes = tuple(self._pictures(scene, number) for scene in film.scenes)
        return film.replace(scenes=scenes, settings=film.settings.replace(loras=loras))

    def _pictures(self, part: Part, number: int) -> Part:
        first, last = (self._picture(name, number) for name in (part.image, part.last_image))
        return part.replace(image=first, last_image=last)

    def _picture(self, name: str, number: int) -> str:
        if name and name not in self.files:
            raise InputError(
                f"image: film {number} names a picture by a path, which this server cannot read; "
                f"send the file with the campaign in a form, as `longreel submit --server` does."
            )
        return str(self.files[name]) if name else ""

    def _lora(self, lora: Lora, number: int) -> Lora:
        if lora.name in self.files:
            return lora.replace(name=str(self.files[lora.name]))
        if hub_place(lora.name) is None:
            raise InputError(
                f"loras: film {number} names a LoRA by a path, which this server cannot read; send "
                f"the file with the campaign in a form, as `longreel submit --server` does."
            )
        return lora

    def as_sent(self, message: str) -> str:
        """`message` with the names that the client gave for the paths of its files."""
        for name, path in self.files.items():
            message = message.replace(str(path), name)
        return message


@asynccontextmanager
async def reading_upload(request: Request, farm: Farm) -> AsyncIterator[Upload]:
    """The campaign of a request; its files are there within the block, in the scratch folder of
    `farm`, which is cleaned up after a kill.

    Raises `InputError`, `StoreFullError`, and an exception with status 413 for too large a body.
    """
    kind = _kind(request.headers.get("content-type", ""))
    if kind != FORM:
        yield Upload(_text(await read_body(request)), f"body{_ending(kind)}")
        return
    _require_room(request, farm)
    folder = await run_in_threadpool(_folder, farm)
    try:
        async with request.form(
            max_files=MOST_FILES + 1, max_fields=3, max_part_size=MOST_BYTES
        ) as form:
            yield await _read_form(form, folder)
    except OSError as error:
        raise_if_full(error, folder)
        raise
    finally:
        await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _ending(kind: str) -> str:
    if kind not in ENDINGS:
        known = ", ".join([*ENDINGS, FORM])
        raise InputError(f"content-type: expected one of {known}, got {kind!r}")
    return ENDINGS[kind]


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("The body is not UTF-8 text; save it as UTF-8.") from None


def _folder(farm: Farm) -> Path:
    return Path(tempfile.mkdtemp(prefix="upload-", dir=farm.scratch.open()))


def _require_room(request: Request, farm: Farm) -> None:
    length = request.headers.get("content-length", "")
    known = length.isascii() and length.isdigit() and len(length) < 19
    size = min(int(length), MOST_CAMPAIGN_BYTES) if known else 0
    # While the form is read, and then with the files under their names.
    for place in (Path(tempfile.gettempdir()), farm.settings.home):
        require_space(place, size)


async def _read_form(form: FormData, folder: Path) -> Upload:
    unknown = sorted(set(form) - {"campaign", "files", "names"})
    if unknown:
        raise InputError(f"{unknown[0][:60]}: the form has campaign, files and names only")
    text, ending = await _read_campaign(form)
    sent = form.getlist("files")
    if not all(isinstance(file, UploadFile) for file in sent):
        raise InputError("files: expected files, got text; give each a file name in the form")
    uploads = [file for file in sent if isinstance(file, UploadFile)]
    names = _names(form.get("names"), uploads)
    files = {}
    for number, (name, file) in enumerate(zip(names, uploads, strict=True)):
        # The name that the client gave is never a path here, only the end of one.
        place = folder / str(number) / safe_name(name.replace("\\", "/").rpartition("/")[2])
        await run_in_threadpool(_write, file, place)
        files[name] = place
    return Upload(text, f"campaign{ending}", files)


async def _read_campaign(form: FormData) -> tuple[str, str]:
    """Its text, and the ending of its form."""
    part = form.get("campaign")
    if part is None or len(form.getlist("campaign")) > 1:
        raise InputError("campaign: the form needs one campaign file under this name")
    if isinstance(part, str):
        return part, ".yaml"
    if part.size is None or part.size > MOST_BYTES:
        raise HTTPException(413, f"The campaign is larger than {MOST_BYTES // 2**20} MiB.")
    kind = _kind(part.content_type or "")
    ending = Path(part.filename or "").suffix.lower().replace(".yml", ".yaml")
    known = ending if ending in ENDINGS.values() else _ending(kind)
    return _text(await part.read()), known


def _names(listed: Any, files: list[UploadFile]) -> list[str]:
    """The names by which the campaign knows the files."""
    names = [file.filename or "" for file in files]
    if listed is not None:
        try:
            names = json.loads(listed)
        except (ValueError, TypeError, RecursionError):
            names = []
        texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not texts or len(names) != len(files):
            raise InputError("names: expected a JSON list with a name for each of the files")
    if len(set(names)) < len(names):
        raise InputError("files: two files have the same name; give each its own")
    return names


def _write(file: UploadFile, place: Path) -> None:
    place.parent.mkdir()
    with place.open("wb") as target:
        shutil.copyfileobj(file.file, target)
