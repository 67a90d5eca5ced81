"""Pictures that films begin or end with: from the user's files into the store."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from film.errors import InputError
from film.types import FilmRequest, SceneRequest
from media.user_images import read_picture
from storage import ObjectStore, keys

Part = TypeVar("Part", FilmRequest, SceneRequest)

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Pictures:
    """The pictures of some films."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        self._transparent: set[str] = set()

    def named(self, request: FilmRequest) -> FilmRequest:
        """`request` with the digests of its pictures for their paths, and notices of what is
        changed in them. Raises `InputError`."""
        scenes = tuple(self._named(scene) for scene in request.scenes)
        parts: tuple[FilmRequest | SceneRequest, ...] = (request, *request.scenes)
        paths = dict.fromkeys(path for part in parts for path in (part.image, part.last_image))
        named = self._named(request).replace(scenes=scenes)
        notices = [
            f"{Path(path).name} is partly transparent; the film shows white there."
            for path in paths
            if path in self._transparent
        ]
        return named.replace(notices=(*request.notices, *notices))

    def _named(self, part: Part) -> Part:
        if not (part.image or part.last_image):
            return part
        image, last = self._digest(part.image), self._digest(part.last_image)
        return part.replace(image=image, last_image=last)

    def _digest(self, path: str) -> str:
        if not path or _DIGEST.fullmatch(path):
            return path
        if path not in self._digests:
            picture = read_picture(Path(path))
            self._digests[path], self._files[picture.digest] = picture.digest, Path(path)
            if picture.transparent:
                self._transparent.add(path)
        return self._digests[path]

    def keep(self, store: ObjectStore) -> None:
        """Puts them into the store. Raises `StoreError`, and `InputError` if one was changed
        meanwhile."""
        for digest, path in self._files.items():
            # Read again rather than kept: a campaign may have more pictures than memory.
            picture = read_picture(path)
            if picture.digest != digest:
                raise InputError(f"{path} was changed while it was submitted; submit it again.")
            with tempfile.NamedTemporaryFile(suffix=".png") as file:
                file.write(picture.png)
                file.flush()
                store.put_file(keys.image(digest), Path(file.name))


def located(requests: Iterable[FilmRequest], folder: Path) -> tuple[FilmRequest, ...]:
    """`requests` whose pictures are found from anywhere: paths count from `folder`."""

    def place(part: Part) -> Part:
        names = {
            name: str((folder / value).absolute())
            for name in ("image", "last_image")
            if (value := getattr(part, name))
        }
        return part.replace(**names) if names else part

    return tuple(
        place(request).replace(scenes=tuple(map(place, request.scenes))) for request in requests
    )
