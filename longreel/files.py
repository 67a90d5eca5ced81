"""Files of this machine that films and campaigns name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from film.reading.presets import Presets
    from film.types import Campaign


def files_in(film: Mapping[str, Any]) -> dict[str, Path]:
    """The files that a film names and that are there, by these names."""
    found = {name: Path(name) for name in _names(film)}
    return {name: path for name, path in found.items() if _is_file(path)}


def require_pictures(film: Mapping[str, Any]) -> None:
    """Raises `InputError` for a picture that is not there."""
    from film.errors import InputError

    for name in _pictures(film):
        if not _is_file(Path(name)):
            raise InputError(f"There is no file {Path(name).absolute()}.")


def _names(film: Mapping[str, Any]) -> Iterator[str]:
    yield from _pictures(film)
    yield from _loras(film.get("loras") or film.get("lora"))


def _pictures(film: Mapping[str, Any]) -> Iterator[str]:
    scenes = [scene for scene in film.get("scenes") or () if isinstance(scene, Mapping)]
    for part in (film, *scenes):
        for key in ("image", "last_image"):
            if part.get(key):
                yield str(part[key])


def _loras(value: Any) -> Iterator[str]:
    from film.loras import read_loras

    if value:
        try:
            yield from (lora.name for lora in read_loras(value))
        except ValueError:
            return  # the service reports what is wrong


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_campaign_file(path: Path, presets: Presets) -> Campaign:
    """The campaign in a file, with the paths of what it names. Raises `InputError`."""
    from film.errors import InputError
    from film.reading.campaign import read_campaign
    from flows.submission import image_uploads, lora_uploads

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    campaign = read_campaign(text, str(path), path.stem, presets=presets)
    films = image_uploads.located(campaign.films, path.parent)
    return campaign.replace(films=lora_uploads.located(films, path.parent))
