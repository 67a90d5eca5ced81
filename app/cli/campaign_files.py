"""Campaigns from the files that users name."""

from __future__ import annotations

from pathlib import Path

from app.cli.film_options import is_file
from app.cli.options import read_file
from film.errors import InputError
from film.types import Campaign

ENDINGS = (".yaml", ".yml", ".jsonl", ".csv")


def read_if_campaign(prompt_or_file: str) -> Campaign | None:
    """The campaign in a file; None for a film's file, or words. Raises `InputError`."""
    from film.reading.campaign import is_campaign

    path = Path(prompt_or_file)
    if path.suffix.lower() not in ENDINGS or not is_file(path):
        return None
    text = read_file(path)
    return _read(path, text) if is_campaign(text, str(path)) else None


def read_campaign_file(path: Path) -> Campaign:
    """The campaign in a file, its paths counted from the file's folder. Raises `InputError`."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path} is not a campaign: its name must end in .yaml, .jsonl or .csv.")
    return _read(path, read_file(path))


def _read(path: Path, text: str) -> Campaign:
    from film.reading.campaign import read_campaign
    from flows.model_catalog.resolve_name import naming
    from flows.submission import image_uploads, lora_uploads

    campaign = read_campaign(text, str(path), path.stem, naming(path.parent))
    films = image_uploads.located(campaign.films, path.parent)
    return campaign.replace(films=lora_uploads.located(films, path.parent))
