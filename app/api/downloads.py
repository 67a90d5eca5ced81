"""Finished films and pictures of them as answers."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, RedirectResponse, Response

from db.films.films import Film
from film.errors import InputError, ObjectMissingError, StoreError
from film.types import Delivery
from flows.deliveries import fetch_film, film_file_name
from flows.farm import Farm
from flows.file_names import safe_name
from media.stills import write_spritesheet, write_thumbnail
from storage import keys
from storage.base import content_type_of

logger = logging.getLogger(__name__)

LINK_SECONDS = 3600.0
VARIANTS = ("video", *keys.STILLS)
_WRITE: dict[str, Callable[[Path, Path], None]] = {
    "thumbnail": write_thumbnail,
    "spritesheet": write_spritesheet,
}


def require_variant(variant: str) -> None:
    """Raises `InputError` for a variant of a film that there is not."""
    if variant not in VARIANTS:
        raise InputError(f"variant: expected one of {', '.join(VARIANTS)}")


def film_response(farm: Farm, film: Film, delivery: Delivery, variant: str) -> Response:
    """The file of a film, or its `thumbnail` (WebP) or `spritesheet` (JPEG).

    From a folder, with ranges and an ETag; from S3, by a redirect to a link.
    """
    name = film_file_name(film)
    if variant != "video":
        return _still_response(farm, delivery, variant, Path(name).stem)
    return stored_response(farm, delivery.key, name, sha256=delivery.sha256)


def stored_response(
    farm: Farm, key: str, name: str, *, sha256: str = "", media_type: str = ""
) -> Response:
    """An object of the store under a file name; `sha256` becomes its ETag."""
    url = farm.store.link(key, LINK_SECONDS, name)
    if not url.startswith("file:"):
        return RedirectResponse(url, status_code=302)
    path = Path(unquote(urlsplit(url).path))
    if not path.is_file():
        raise ObjectMissingError(
            f"The file {key} is missing from the store; `longreel requeue` makes a film again."
        )
    headers = {"content-disposition": attachment(name)}
    if sha256:
        headers["etag"] = f'"{sha256}"'
    kind = media_type or content_type_of(key)
    return FileResponse(path, media_type=kind, headers=headers)


def attachment(name: str) -> str:
    """A Content-Disposition with a file name of any characters (RFC 6266, RFC 8187)."""
    name = safe_name(name, 255)
    plain = re.sub(r'[^ -~]|["%\\]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _still_response(farm: Farm, delivery: Delivery, variant: str, stem: str) -> Response:
    folder = PurePosixPath(delivery.key).parent
    key = f"{folder}/{keys.STILLS[variant]}"
    name = f"{stem}{PurePosixPath(key).suffix}"
    if farm.store.head(key) is not None:
        return stored_response(farm, key, name)
    scratch = Path(tempfile.mkdtemp(prefix="longreel-still-"))
    try:
        path = _make_still(farm, delivery, variant, scratch / name)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    _keep(farm, key, path)
    remove = BackgroundTask(shutil.rmtree, scratch, ignore_errors=True)
    headers = {"content-disposition": attachment(name)}
    return FileResponse(path, media_type=content_type_of(key), headers=headers, background=remove)


def _make_still(farm: Farm, delivery: Delivery, variant: str, path: Path) -> Path:
    film = path.with_name("film.mp4")
    fetch_film(farm.store, delivery, film)
    _WRITE[variant](film, path)
    film.unlink()
    return path


def _keep(farm: Farm, key: str, path: Path) -> None:
    """Puts a picture into the store for the next time; two copies of the service put the same."""
    try:
        farm.store.put_file(key, path)
    except StoreError as error:  # it is only made again next time
        logger.warning("The picture %s could not be kept: %s", key, error)
