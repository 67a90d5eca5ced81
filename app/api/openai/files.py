"""The routes of `/v1/files`: files that clients upload, and the results of batches."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, StreamingResponse

from app.api.bodies import reading_fields
from app.api.body_limits import MOST_FILE_BYTES
from app.api.documents import FILES, OPENAI_ERRORS, body_of
from app.api.downloads import stored_response
from app.api.openai.batch_results import Results, find_results
from app.api.openai.errors import ApiError
from app.api.openai.fields import require_known
from app.api.pages import read_limit
from app.api.parts import farm_of, key_id_of, seen_by
from db import files
from db.files import FileRow
from film.errors import InputError
from film.plain_text import one_line
from flows.farm import Farm, require_space
from storage import keys

router = APIRouter(prefix="/v1/files", tags=["files"], responses=OPENAI_ERRORS)
PURPOSES = ("batch", "vision", "user_data")
MOST_BATCH_BYTES = 200 * 1024 * 1024
MOST_TEXT = 64 * 1024
"""Bytes of a field that is not the file."""
MOST_LISTED = 10_000
MOST_NAME = 200
_BODY = body_of(
    {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": list(PURPOSES)},
    },
    ["file", "purpose"],
)


@router.post("", openapi_extra=_BODY)
async def create(request: Request) -> Response:
    """Uploads a file."""
    farm = farm_of(request)
    async with reading_fields(request, MOST_TEXT) as fields:
        return await run_in_threadpool(_create, farm, fields, key_id_of(request))


def _create(farm: Farm, fields: dict[str, Any], key_id: str | None) -> Response:
    require_known(fields, ("file", "purpose"), lenient=farm.settings.lenient_fields)
    upload, purpose = fields.get("file"), fields.get("purpose")
    if purpose not in PURPOSES:
        raise InputError(f"purpose: expected one of {', '.join(PURPOSES)}")
    if not isinstance(upload, UploadFile):
        raise InputError("file: send it as a file of a multipart form")
    with tempfile.TemporaryDirectory(prefix="longreel-upload-") as folder:
        require_space(Path(folder))
        path = Path(folder) / "file"
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        row = _keep(farm, path, file_name(upload.filename or ""), purpose, key_id)
    return JSONResponse(file_object(row))


def _keep(farm: Farm, path: Path, name: str, purpose: str, key_id: str | None) -> FileRow:
    size = path.stat().st_size
    most = MOST_BATCH_BYTES if purpose == "batch" else MOST_FILE_BYTES
    if not 0 < size <= most:
        wrong = f"is larger than {most // 2**20} MiB" if size else "is empty"
        raise InputError(f"file: {name} {wrong}")
    file_id = files.new_id()
    # The object first: a row without its object would be a file that cannot be read. What is left
    # over after a crash in between goes with `longreel clean`.
    info = farm.store.put_file(keys.uploaded_file(file_id), path)
    sha256 = info.sha256 or _digest(path)
    with farm.database.write() as connection:
        return files.insert(connection, file_id, name, purpose, size, sha256, key_id)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_name(given: str) -> str:
    """A client's name of a file without its folders and what cannot be printed; never empty."""
    name = one_line(re.split(r"[/\\]", given)[-1])[:MOST_NAME]
    return name if name.strip(". ") else "file"


def file_object(row: FileRow) -> dict[str, Any]:
    """A file as OpenAI shows it."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.size_bytes,
        "created_at": int(row.created_at),
        "expires_at": None,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
        "status_details": None,
    }


@router.get("")
def list_files(
    request: Request,
    purpose: str | None = None,
    after: str | None = None,
    limit: str = "100",
    order: str = "desc",
) -> Response:
    """Lists the uploaded files, a page at a time."""
    if order not in ("asc", "desc"):
        raise InputError("order: expected asc or desc")
    count = read_limit(limit, MOST_LISTED)
    with farm_of(request).database.read() as connection:
        rows = files.find(
            connection,
            purpose=purpose,
            key_id=seen_by(request),
            after=after,
            ascending=order == "asc",
            limit=count + 1,
        )
    page = [file_object(row) for row in rows[:count]]
    return JSONResponse(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(rows) > count,
        }
    )


@router.get("/{file}")
def retrieve(request: Request, file: str) -> Response:
    """Shows a file, or the results of a batch."""
    farm = farm_of(request)
    results = find_results(farm, file)
    if results is not None:
        return JSONResponse(_results_object(results))
    with farm.database.read() as connection:
        return JSONResponse(file_object(files.get(connection, file)))


def _results_object(results: Results) -> dict[str, Any]:
    return {
        "id": results.file_id,
        "object": "file",
        "bytes": sum(map(len, results.lines())),
        "created_at": results.created_at,
        "expires_at": None,
        "filename": results.file_name,
        "purpose": "batch_output",
        "status": "processed",
        "status_details": None,
    }


@router.get("/{file}/content", responses=FILES)
def content(request: Request, file: str) -> Response:
    """The bytes of a file, or the lines of the results of a batch as they are now."""
    farm = farm_of(request)
    results = find_results(farm, file)
    if results is not None:
        headers = {"content-disposition": f'attachment; filename="{results.file_name}"'}
        return StreamingResponse(results.lines(), media_type="application/jsonl", headers=headers)
    with farm.database.read() as connection:
        row = files.get(connection, file)
    return stored_response(farm, keys.uploaded_file(row.id), row.filename, sha256=row.sha256)


@router.delete("/{file}")
def delete(request: Request, file: str) -> Response:
    """Removes a file. Batches and videos that were made with it stay."""
    farm = farm_of(request)
    if find_results(farm, file) is not None:
        message = f"The file {file} is made from the films of its batch, and cannot be removed."
        raise ApiError(400, message, code="invalid_value", retry=False)
    with farm.database.write() as connection:
        files.delete(connection, file)
    farm.store.delete(keys.uploaded_file(file))
    return JSONResponse({"id": file, "object": "file", "deleted": True})
