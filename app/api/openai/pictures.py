"""Pictures in requests for videos: files, data URLs, addresses on the network, uploaded files."""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.api.fetch_file import MOST_BYTES, TOTAL_SECONDS, fetch_file
from app.api.openai.errors import ApiError
from app.api.openai.fields import read_json
from db import files
from film.errors import InputError, NotFoundError
from flows.farm import Farm
from media.sharp_frame import is_video
from storage import keys

MOST_TOGETHER = 4 * 1024 * 1024 * 1024
"""Bytes of all pictures of a batch."""
MOST_SECONDS = 600.0
"""For fetching all pictures of a batch."""
MOST_FETCHES = 8
"""Requests of one process whose pictures are fetched at the same time. Each holds a thread until a
server answers, which may be slow; other requests need threads, too."""
_FETCHES = threading.BoundedSemaphore(MOST_FETCHES)
_WAYS = (
    'send one picture as a file, as a data: or https:// URL, as {"image_url": …} or as '
    '{"file_id": …}'
)
_URL = re.compile(r"(?i)https?://")


class Pictures:
    """The pictures of some requests, as files in a folder."""

    def __init__(self, farm: Farm, folder: Path, *, patient: bool = False) -> None:
        """`patient`: nobody waits for the request, so that its pictures may wait for others."""
        self._farm, self._folder, self._patient = farm, folder, patient
        self._placed: dict[Path, str] = {}
        self._known: dict[str, Path] = {}
        self._count, self._bytes, self._seconds = 0, 0, 0.0

    def place(self, value: Any, field: str) -> Path:
        """Puts the picture that a field stands for into the folder; one that several requests name
        by the same address, once.

        Raises `InputError`, `ApiError`, `StoreError`.
        """
        value = _single(value, field)
        source = json.dumps([field, value]) if _is_remote(value) else ""
        if source not in self._known:
            path = self._new_path(field)
            self._write(value, path, field)
            self._placed[path] = field
            self._require_room(path, field)
            if is_video(path):
                raise InputError(f"{field}: it is a video, and films begin and end with pictures")
            if not source:
                return path
            self._known[source] = path
        return self._known[source]

    def _new_path(self, field: str) -> Path:
        # The name of the file is what notices call the picture.
        path = self._folder / str(self._count) / field
        self._count += 1
        path.parent.mkdir()
        return path

    def _require_room(self, path: Path, field: str) -> None:
        self._bytes += path.stat().st_size
        if self._bytes > MOST_TOGETHER:
            path.unlink()
            raise InputError(
                f"{field}: all pictures together have more than {MOST_TOGETHER // 2**20} MiB"
            )

    def _write(self, value: Any, path: Path, field: str) -> None:
        if isinstance(value, Path):
            value.rename(path)
        elif isinstance(value, str) and value.startswith("data:"):
            path.write_bytes(_decode(value, field))
        elif isinstance(value, Mapping) and _is_remote(value):
            self._fetch_upload(value["file_id"], path, field)
        elif _is_remote(value):
            self._fetch(value, path, field)
        else:
            raise InputError(f"{field}: {_WAYS}")

    def _fetch(self, url: str, path: Path, field: str) -> None:
        left = MOST_SECONDS - self._seconds
        if left <= 0:
            raise InputError(f"{field}: fetching all pictures took more than {MOST_SECONDS:g} s")
        if not self._patient and not _FETCHES.acquire(blocking=False):
            message = "Too many pictures are being fetched; send the request again in a moment."
            raise ApiError(429, message, param=field, code="rate_limit_exceeded")
        began = time.monotonic()
        try:
            networks = self._farm.settings.open_networks
            fetch_file(url, path, networks, field=field, seconds=min(left, TOTAL_SECONDS))
        finally:
            if not self._patient:
                _FETCHES.release()
            self._seconds += time.monotonic() - began

    def _fetch_upload(self, file_id: str, path: Path, field: str) -> None:
        try:
            with self._farm.database.read() as connection:
                row = files.get(connection, file_id)
        except NotFoundError as error:
            raise InputError(f"{field}: {error}") from None
        if row.size_bytes > MOST_BYTES:
            raise InputError(f"{field}: {file_id} has more than {MOST_BYTES // 2**20} MiB")
        self._farm.store.get_file(keys.uploaded_file(row.id), path)

    @contextmanager
    def naming_fields(self) -> Iterator[None]:
        """Names fields in place of the paths of their pictures in what is raised in the block."""
        try:
            yield
        except InputError as error:
            text = str(error)
            if str(self._folder) not in text:
                raise
            for path, field in self._placed.items():
                if str(path) in text:
                    message = f"{field}: {text.replace(str(path), 'the picture')}"
                    raise ApiError(400, message, param=field, code="invalid_value") from None
            raise


def _is_remote(value: Any) -> bool:
    """True for an address on the network, and for an uploaded file."""
    if isinstance(value, Mapping):
        return isinstance(value.get("file_id"), str)
    return isinstance(value, str) and bool(_URL.match(value))


def _single(value: Any, field: str) -> Any:
    """What is inside of lists and objects. Raises `InputError`."""
    value = read_json(value)
    if isinstance(value, list):
        if len(value) != 1:
            raise InputError(f"{field}: {_WAYS}")
        return _single(value[0], field)
    if isinstance(value, Mapping):
        for name in ("image_url", "url"):
            if value.get(name):
                return _single(value[name], field)
    return value


def _decode(url: str, field: str) -> bytes:
    head, _, body = url.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise InputError(f"{field}: expected a data: URL with base64") from None
