"""Every key in the store, and what a key may look like.

::

    takes/<first two hex digits>/<address>/video-<file>.mp4   the frames of a segment
    takes/<first two hex digits>/<address>/tail-<file>.mkv    its last frames, lossless
    takes/<first two hex digits>/<address>/sound-<file>.flac  its sound; not of every model
    films/<digest>/film.mp4                                   a delivered film
    films/<digest>/thumbnail.webp                             a picture of it, once asked for
    films/<digest>/spritesheet.jpg                            20 pictures of it, once asked for
    files/<last two letters of the id>/<id>                   a file that a client uploaded
    images/<first two hex digits>/<digest>.png                a picture that a user gave
    loras/<first two hex digits>/<digest>.safetensors         a LoRA that a user gave

Addresses and digests are SHA-256 in hex, so equal keys hold equal work. `<file>` is the beginning
of the SHA-256 of the file itself: two attempts at a segment never overwrite each other's files,
unless these are equal. Takes that are older than this rule have names without it (`video.mp4`).
"""

from __future__ import annotations

import re
from enum import Enum

from film.errors import InputError

TAKES = "takes/"
FILMS = "films/"
IMAGES = "images/"
LORAS = "loras/"
FILES = "files/"

MAX_KEY_BYTES = 512
"""With the longest prefix still below the 1,024 bytes of S3."""
MAX_PART_BYTES = 200
"""Below the 255 bytes that file systems allow for one name."""

STILLS = {"thumbnail": "thumbnail.webp", "spritesheet": "spritesheet.jpg"}
"""File names of the pictures of a film."""

NAMED_DIGITS = 32
"""Hex digits of a file's SHA-256 in its name: 128 bits."""

_NAMED_DIGEST = re.compile(rf"-([0-9a-f]{{{NAMED_DIGITS}}})\.\w+$")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class TakeFile(Enum):
    """A file of a take; the value is its name, without the digest."""

    VIDEO = "video.mp4"
    """The encoded frames of the segment."""
    TAIL = "tail.mkv"
    """Its last frames, which condition the segment that continues it."""
    SOUND = "sound.flac"
    """Its sound."""


def take_file(address: str, kind: TakeFile, digest: str) -> str:
    """Key of a file of the take with this content address; `digest` is the file's SHA-256."""
    stem, _, ending = kind.value.partition(".")
    return f"{take_folder(address)}{stem}-{_digest(digest)[:NAMED_DIGITS]}.{ending}"


def digest_in(key: str) -> str:
    """The beginning of the SHA-256 that the name of a take's file holds; empty if it holds none."""
    found = _NAMED_DIGEST.search(key)
    return found[1] if found else ""


def take_folder(address: str) -> str:
    """Prefix of everything of one take; two digits first, so that no folder grows too large."""
    return f"{TAKES}{_digest(address)[:2]}/{address}/"


def image(digest: str) -> str:
    """Key of a picture that a user gave, by the digest of its pixels."""
    return f"{IMAGES}{_digest(digest)[:2]}/{digest}.png"


def lora(digest: str) -> str:
    """Key of a LoRA that a user gave, by the digest of its file."""
    return f"{LORAS}{_digest(digest)[:2]}/{digest}.safetensors"


def film_video(digest: str) -> str:
    """Key of a delivered film."""
    return f"{film_folder(digest)}film.mp4"


def film_folder(digest: str) -> str:
    """Prefix of everything of one delivered film."""
    return f"{FILMS}{_digest(digest)}/"


def film_still(digest: str, name: str) -> str:
    """Key of a picture of a delivered film; `name` is one of `STILLS`."""
    return f"{film_folder(digest)}{STILLS[name]}"


def uploaded_file(file_id: str) -> str:
    """Key of a file that a client uploaded; two letters first, so that no folder grows too
    large."""
    return check_key(f"{FILES}{file_id[-2:]}/{file_id}")


def check_key(key: str) -> str:
    """`key` itself if every kind of store can hold it; `InputError` otherwise.

    Keys are names of letters, digits and `_ . = -` joined by `/`, none beginning with a dot or a
    dash: that keeps out `..`, absolute paths, NUL, and what differs between file systems.
    """
    parts = key.split("/")
    good = len(key) <= MAX_KEY_BYTES and all(
        len(part) <= MAX_PART_BYTES and _PART.fullmatch(part) for part in parts
    )
    if not good:
        raise InputError(f"{_shown(key)} is not a key: use names such as films/a1b2/film.mp4.")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` itself if it can begin a key (or is empty); `InputError` otherwise."""
    if prefix:
        # Any beginning of a key becomes a key by one more letter.
        check_key(prefix + "a")
    return prefix


def _digest(value: str) -> str:
    if not _DIGEST.fullmatch(value):
        raise InputError(f"{_shown(value)} is not an address: it has 64 hex digits in lower case.")
    return value


def _shown(value: str) -> str:
    """`value` in a form that fits a message, whatever is in it."""
    return ascii(value if len(value) <= 80 else value[:77] + "...")
