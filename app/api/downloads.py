"""Finished films and pictures of them as answers."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, RedirectResponse, Response

from db.films.films import Film
from film.errors import InputError, ObjectMissingError
from film.types import Delivery
from flows.deliveries import fetch_film, film_file_name
from flows.farm import Farm
from flows.file_names import safe_name
from media.stills import write_spritesheet, write_thumbnail

LINK_SECONDS = 3600.0
VARIANTS = ("video", "thumbnail", "spritesheet")


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
        return _picture(farm, delivery, variant, Path(name).stem)
    url = farm.store.link(delivery.key, LINK_SECONDS, name)
    if not url.startswith("file:"):
        return RedirectResponse(url, status_code=302)
    path = Path(unquote(urlsplit(url).path))
    if not path.is_file():
        raise ObjectMissingError(
            f"The file of {film.id} is missing from the store; `longreel requeue {film.id}` makes "
            f"it again."
        )
    headers = {"etag": f'"{delivery.sha256}"', "content-disposition": attachment(name)}
    return FileResponse(path, media_type="video/mp4", headers=headers)


def attachment(name: str) -> str:
    """A Content-Disposition with a file name of any characters (RFC 6266, RFC 8187)."""
    name = safe_name(name, 255)
    plain = re.sub(r'[^ -~]|["%\\]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _picture(farm: Farm, delivery: Delivery, variant: str, stem: str) -> Response:
    folder = Path(tempfile.mkdtemp(prefix="longreel-still-"))
    try:
        film = folder / "film.mp4"
        fetch_film(farm.store, delivery, film)
        if variant == "thumbnail":
            path, kind = folder / f"{stem}.webp", "image/webp"
            write_thumbnail(film, path)
        else:
            path, kind = folder / f"{stem}.jpg", "image/jpeg"
            write_spritesheet(film, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    remove = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    headers = {"content-disposition": attachment(path.name)}
    return FileResponse(path, media_type=kind, headers=headers, background=remove)
