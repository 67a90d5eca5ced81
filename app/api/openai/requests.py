"""Requests that make films: their files are put on disk, and those sent again are recognized."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from app.api.openai import create as creation
from app.api.openai.create import Asked
from app.api.parts import key_id_of, seen_by
from flows.farm import Farm

Make = Callable[[Farm, Asked, Path], str]
"""Makes the film of a request, with a folder for its files, and returns its id."""


def make_film(farm: Farm, request: Request, given: dict[str, Any], make: Make) -> str:
    """The id of the film that `make` makes of the fields of a request; of the one that it made
    before, if the request was sent again. Raises `ApiError`, `LongreelError`."""
    with tempfile.TemporaryDirectory(prefix="longreel-upload-") as name:
        folder = Path(name)
        asked = Asked(
            request.url.path,
            _put_on_disk(given, folder),
            request.headers.get("idempotency-key"),
            request.headers.get("x-stainless-retry-count", "0") != "0",
            key_id=key_id_of(request),
            own_only=seen_by(request) is not None,
        )
        return creation.known(farm, asked) or make(farm, asked, folder)


def _put_on_disk(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fields, with paths in `folder` in place of files."""

    def put(value: Any) -> Any:
        if isinstance(value, list):
            return [put(each) for each in value]
        if isinstance(value, Mapping):
            return {name: put(each) for name, each in value.items()}
        if not isinstance(value, UploadFile):
            return value
        # By number: the name of a field is the client's, and may lead anywhere.
        path = folder / f"upload-{len(list(folder.iterdir()))}"
        with path.open("wb") as file:
            shutil.copyfileobj(value.file, file)
        return path

    return {field: put(value) for field, value in given.items()}
