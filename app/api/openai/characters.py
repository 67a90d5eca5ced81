"""The routes of `/v1/videos/characters`: named pictures that films can begin with."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse

from app.api.bodies import reading_fields
from app.api.documents import OPENAI_ERRORS, body_of
from app.api.openai.fields import require_known
from app.api.parts import farm_of
from db import characters
from db.characters import CharacterRow
from film.errors import InputError
from film.plain_text import one_line
from flows.farm import Farm
from media.sharp_frame import is_video, write_sharp_frame
from media.user_images import UserPicture, read_picture
from storage import keys

router = APIRouter(prefix="/v1/videos/characters", tags=["videos"], responses=OPENAI_ERRORS)
MOST_NAME = 80
FILES = ("video", "image", "picture")
"""Fields that the file of a character may come in."""
_FILE = {"type": "string", "format": "binary"}
_BODY = body_of({"name": {"type": "string"}, "video": _FILE, "image": _FILE}, ["name"])


@router.post("", openapi_extra=_BODY)
async def create(request: Request) -> Response:
    """Keeps a picture, or the first sharp frame of a video, under a name."""
    farm = farm_of(request)
    async with reading_fields(request) as fields:
        return await run_in_threadpool(_create, farm, fields)


@router.get("/{character}")
def retrieve(request: Request, character: str) -> Response:
    """Shows a character."""
    with farm_of(request).database.read() as connection:
        return JSONResponse(character_object(characters.get(connection, character)))


def character_object(row: CharacterRow) -> dict[str, Any]:
    """A character as OpenAI shows it."""
    return {
        "id": row.id,
        "object": "character",
        "created_at": int(row.created_at),
        "name": row.name,
    }


def _create(farm: Farm, fields: dict[str, Any]) -> Response:
    require_known(fields, ("name", *FILES), lenient=farm.settings.lenient_fields)
    name = _read_name(fields.get("name"))
    given = [field for field in FILES if field in fields]
    if len(given) != 1 or not isinstance(fields[given[0]], UploadFile):
        raise InputError("video: send one video or picture as a file of a multipart form")
    with tempfile.TemporaryDirectory(prefix="longreel-upload-") as folder:
        picture = _read_file(fields[given[0]], Path(folder), given[0])
        path = Path(folder) / "picture.png"
        path.write_bytes(picture.png)
        farm.store.put_file(keys.image(picture.digest), path)
    with farm.database.write() as connection:
        return JSONResponse(character_object(characters.insert(connection, name, picture.digest)))


def _read_name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(one_line(value)) <= MOST_NAME:
        raise InputError(f"name: expected a text of 1 to {MOST_NAME} characters")
    return one_line(value)


def _read_file(upload: UploadFile, folder: Path, field: str) -> UserPicture:
    path = folder / "file"
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
    try:
        if not is_video(path):
            return read_picture(path)
        still = folder / "still.png"
        write_sharp_frame(path, still)
        return read_picture(still)
    except InputError as error:
        message = str(error).replace(str(path), "the file")
        raise InputError(f"{field}: {message}") from None
