"""LoRAs that films are rendered with: from the user's files and the hub into the store, and from
there to the machines that render."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from film.errors import InputError
from film.families.lookup import find_model
from film.loras import hub_place, settled
from film.models import SINGLE
from film.types import FilmRequest, Lora
from flows.model_catalog.resolve_name import placed
from renderer.weights import file_hashes, hub
from renderer.weights.safetensors_headers import require_lora
from storage import ObjectStore, keys
from storage.base import listed

YOUNG_SECONDS = 12 * 3600.0
"""An object that is younger stays for longer than a submission takes: `clean` removes nothing that
is younger than a day."""


class Loras:
    """The LoRAs of some films, fetched and read once each."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._paths: dict[str, Path] = {}
        self._found = cache(self._find)

    def named(self, request: FilmRequest) -> FilmRequest:
        """`request` with the digests of its LoRAs. Raises `InputError`."""
        asked = request.settings.loras
        if not asked:
            return request
        settled(find_model(request.settings.model), asked)  # before anything is fetched
        loras = tuple(lora if lora.digest else self._named(lora) for lora in asked)
        settings = request.settings.replace(loras=loras)
        return request.replace(settings=settings)

    def keep(self, store: ObjectStore) -> None:
        """Puts those into the store that it has not, or has for so long that `clean` may be about
        to remove them. Raises `InputError`, `StoreError`."""
        for digest, path in self._paths.items():
            info = listed(store, keys.lora(digest))
            if info and info.modified_at and time.time() - info.modified_at < YOUNG_SECONDS:
                continue
            if store.put_file(keys.lora(digest), path).sha256 != digest:
                store.delete(keys.lora(digest))
                raise InputError(f"{path} changed while it was read; submit the film again.")

    def _named(self, lora: Lora) -> Lora:
        name, digest = self._found(lora.name)
        return lora.replace(name=name, digest=digest)

    def _find(self, source: str) -> tuple[str, str]:
        """What people know it by, and its digest."""
        place = None if Path(source).is_absolute() else hub_place(source)
        if place is not None:
            file, path = hub.fetch_file(f"The LoRA {source}", place)
            name = f"{place.repository}/{file}"
        else:
            path = Path(source)
            name = path.name
            if not path.name.endswith(SINGLE):
                raise InputError(
                    f"{source} is not a LoRA: name a {SINGLE} file, or org/name of the hub."
                )
        require_lora(path, source)
        try:
            (digest,) = file_hashes.of_files([path], self._home) or ("",)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from None
        self._paths[digest] = path
        return name, digest


def located(requests: Iterable[FilmRequest], folder: Path) -> tuple[FilmRequest, ...]:
    """`requests` whose LoRAs are found from anywhere: paths count from `folder`.

    A name that is not a file there and has the form of a place on the hub is one.
    """

    def place(lora: Lora) -> Lora:
        path = placed(lora.name, folder)
        if hub_place(lora.name) is not None and not path.is_file():
            return lora
        return lora.replace(name=str(path))

    def located_in(request: FilmRequest) -> FilmRequest:
        if not request.settings.loras:
            return request
        loras = tuple(map(place, request.settings.loras))
        settings = request.settings.replace(loras=loras)
        return request.replace(settings=settings)

    return tuple(map(located_in, requests))
