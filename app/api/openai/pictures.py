"""Pictures in requests for videos: files, data URLs, addresses on the network, uploaded files."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.api.fetch_file import fetch_file
from app.api.openai.errors import ApiError
from app.api.openai.fields import read_json
from film.errors import InputError
from flows.farm import Farm

_WAYS = (
    'send one picture as a file, as a data: or https:// URL, as {"image_url": …} or as '
    '{"file_id": …}'
)
_URL = re.compile(r"(?i)https?://")


class Pictures:
    """The pictures of some requests, as files in a folder."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self._farm, self._folder = farm, folder
        self._placed: dict[Path, str] = {}

    def place(self, value: Any, field: str) -> Path:
        """Puts the picture that a field stands for into the folder. Raises `InputError`,
        `ApiError`, `StoreError`."""
        # The name of the file is what notices call the picture.
        path = self._folder / str(len(self._placed)) / field
        path.parent.mkdir()
        self._write(_single(value, field), path, field)
        self._placed[path] = field
        return path

    def _write(self, value: Any, path: Path, field: str) -> None:
        if isinstance(value, Path):
            value.rename(path)
        elif isinstance(value, str) and value.startswith("data:"):
            path.write_bytes(_decode(value, field))
        elif isinstance(value, str) and _URL.match(value):
            fetch_file(value, path, self._farm.settings.open_networks, field=field)
        else:
            raise InputError(f"{field}: {_WAYS}")

    @contextmanager
    def naming_fields(self) -> Iterator[None]:
        """Names fields in place of the paths of their pictures in what is raised in the block."""
        try:
            yield
        except InputError as error:
            text = str(error)
            for path, field in self._placed.items():
                if str(path) in text:
                    message = f"{field}: {text.replace(str(path), 'the picture')}"
                    raise ApiError(400, message, param=field, code="invalid_value") from None
            raise


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
