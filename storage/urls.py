"""From a URL to a store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from film.errors import InputError, SettingsError
from storage.base import ObjectStore
from storage.keys import check_key
from storage.local import LocalStore

CHECKSUMS = ("when_supported", "when_required")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def open_store(
    url: str, *, endpoint_url: str | None = None, checksums: str = "when_supported"
) -> ObjectStore:
    """The store at `file:///folder` or `s3://bucket/prefix`; nothing is contacted yet.

    `endpoint_url` is that of an S3-compatible server (`None` or empty means AWS). `checksums`
    is `when_required` for servers that do not know the newer S3 checksums.
    Raises `SettingsError` naming the variable that is wrong.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _unusable(f"it cannot be read ({error})") from None
    if parts.scheme == "file":
        return LocalStore(_folder(parts))
    if parts.scheme == "s3":
        from storage.s3 import S3Store  # boto3 takes long to import, and few need it

        bucket, prefix = _bucket(parts)
        return S3Store(
            bucket, prefix, endpoint_url=_endpoint(endpoint_url), checksums=_checksums(checksums)
        )
    raise _unusable("it begins with neither file:// nor s3://")


def _folder(parts: SplitResult) -> Path:
    folder = Path(url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.is_absolute():
        raise _unusable("a file URL has three slashes and the whole path")
    if parts.query or parts.fragment:
        raise _unusable("write ? as %3F and # as %23")
    if "\0" in str(folder):
        raise _unusable("a path holds no NUL")
    return folder


def _bucket(parts: SplitResult) -> tuple[str, str]:
    # The URL is not repeated in the message, because it may contain credentials.
    if not _BUCKET.fullmatch(parts.netloc):
        raise _unusable("an s3 URL has the name of a bucket after s3://, and nothing else there")
    prefix = parts.path.strip("/")
    try:
        if prefix:
            check_key(prefix)
    except InputError:
        prefix = "\0"
    if prefix == "\0" or parts.query or parts.fragment:
        raise _unusable("a prefix is made of letters, digits and _ . = - between slashes")
    return parts.netloc, prefix


def _endpoint(url: str | None) -> str | None:
    if not url:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            "LONGREEL_S3_ENDPOINT_URL cannot work: write the server alone, such as "
            "https://s3.example.org or http://127.0.0.1:9000, without credentials."
        )
    return url


def _checksums(value: str) -> str:
    if value not in CHECKSUMS:
        raise SettingsError(
            f"LONGREEL_S3_CHECKSUMS is {value!r}, which cannot work: "
            f"choose {' or '.join(CHECKSUMS)}."
        )
    return value


def _unusable(why: str) -> SettingsError:
    return SettingsError(
        f"LONGREEL_STORE_URL cannot work: {why}. "
        "Write file:///folder for a folder, or s3://bucket/prefix for S3."
    )
