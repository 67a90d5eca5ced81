"""A campaign's films as one file, made while it is sent."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from film.types import Delivery
from flows.deliveries import fetch_film
from flows.farm import Farm

PIECE_BYTES = 1 << 20


class _Sent:
    """What a zip file writes, until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        """As a file that cannot seek."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is left open."""

    def take(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def zip_films(farm: Farm, files: Sequence[tuple[Delivery, str]], folder: Path) -> Iterator[bytes]:
    """The bytes of a zip file of delivered films under these names, in pieces; one film at a time
    lies in `folder`, which is removed at the end.

    Each is compared with what was delivered. Raises `StoreError` at a film that is damaged or away,
    which breaks the file off: a client sees that it is not whole.
    """
    try:
        yield from _zipped(farm, files, folder)
    finally:  # also if a film is damaged, or the client leaves
        shutil.rmtree(folder, ignore_errors=True)


def _zipped(farm: Farm, files: Sequence[tuple[Delivery, str]], folder: Path) -> Iterator[bytes]:
    sent = _Sent()
    # Films do not become smaller by compression.
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_STORED) as archive:
        for delivery, name in files:
            path = folder / "film.mp4"
            fetch_film(farm.store, delivery, path)
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as entry:
                while piece := source.read(PIECE_BYTES):
                    entry.write(piece)
                    yield sent.take()
            yield sent.take()
    yield sent.take()
