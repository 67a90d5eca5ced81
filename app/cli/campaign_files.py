"""Campaigns: from files, or one film of a prompt, a text, a script or standard input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.farm_access import acting, server_url
from app.cli.film_options import is_file, request_of
from app.cli.options import read_file
from film.errors import InputError
from film.reading.film import Naming
from film.types import Campaign

if TYPE_CHECKING:
    from app.actions.protocol import Actions

ENDINGS = (".yaml", ".yml", ".jsonl", ".csv")
_CAMPAIGN_KEY = re.compile(r"^(films|matrix):", re.MULTILINE)
STDIN = "-"


def read_films(what: str, chosen: dict[str, Any]) -> Campaign:
    """The campaign in a file or in standard input (`-`); else the one film of a script, a text
    file or a prompt, with the options `chosen`.

    Raises `InputError`, also if options are given for a campaign.
    """
    text = sys.stdin.read() if what == STDIN else None
    campaign = _campaign_in(what, text)
    if campaign is None:
        request = request_of(what, chosen, text, naming_of(), kept_presets)
        return Campaign(name=request.title, films=(request,))
    if any(value is not None for value in chosen.values()):
        name = "Standard input" if what == STDIN else what
        raise InputError(
            f"{name} is a campaign: write options for all of its films under `defaults:` in it."
        )
    return campaign


def _campaign_in(what: str, text: str | None) -> Campaign | None:
    """The campaign in a file, or in the `text` of standard input; None for a film."""
    from film.reading.campaign import is_campaign

    if text is not None:
        form = _form_of(text)
        return _read(Path(f"stdin{form}"), text) if form else None
    path = Path(what)
    if path.suffix.lower() not in ENDINGS or not is_file(path):
        return None
    text = read_file(path)
    return _read(path, text) if is_campaign(text, str(path)) else None


def _form_of(text: str) -> str | None:
    """The ending of the file that standard input would be if it is a campaign."""
    if text.lstrip().startswith("{"):
        return ".jsonl"
    return ".yaml" if _CAMPAIGN_KEY.search(text) else None


def naming_of() -> Callable[[Path], Naming]:
    """Makes out models by looking at what is on this machine, unless the farm is elsewhere."""
    from film.families.lookup import as_named
    from flows.model_catalog.resolve_name import naming

    return (lambda folder: as_named) if server_url() else naming


def kept_presets(name: str) -> Mapping[str, Any]:
    """The options of a preset of the farm that the command is about. Raises `InputError`."""
    with acting(create=False) as farm:
        return _preset_of(farm, name)


def presets_here(name: str) -> Mapping[str, Any]:
    """The options of a preset of this machine's farm. Raises `InputError`."""
    from app.actions.local import LocalActions

    farm = LocalActions(create=False)
    try:
        return _preset_of(farm, name)
    finally:
        farm.close()


def _preset_of(farm: Actions, name: str) -> Mapping[str, Any]:
    found = {row.name: row.options for row in farm.presets()}
    if name not in found:
        raise InputError(f"There is no preset {name!r}; `longreel presets` lists those there are.")
    return found[name]


def _read(path: Path, text: str) -> Campaign:
    from film.reading.campaign import read_campaign
    from flows.submission import image_uploads, lora_uploads

    campaign = read_campaign(text, str(path), path.stem, naming_of()(path.parent), kept_presets)
    films = image_uploads.located(campaign.films, path.parent)
    return campaign.replace(films=lora_uploads.located(films, path.parent))
