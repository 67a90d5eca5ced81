"""Presets: named sets of options that take the place of what a film does not say itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from film.errors import CampaignFileError, InputError
from film.reading.keys import FILM_KEYS, PRESET_KEYS
from film.reading.record import Record
from film.reading.values import read_text, short

Presets = Callable[[str], Mapping[str, Any]]
"""The options of a preset by its name; raises `InputError` if there is none of that name."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def no_presets(name: str) -> Mapping[str, Any]:
    """For readers that know no presets."""
    raise InputError(f"there is no preset {name!r}")


def with_preset(record: Record, presets: Presets) -> Record:
    """`record` with the options of the preset that it names, for what it does not say itself.

    Raises `CampaignFileError`.
    """
    name = record.get("preset", read_text, "")
    if not name:
        return record
    try:
        options = presets(name)
    except CampaignFileError:
        raise
    except InputError as error:
        raise record.error(str(error), "preset") from None
    said = {key: value for key, value in record.data.items() if value is not None}
    return Record({**options, **said}, record.source, record.line, record.lines)


def require_preset(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a preset that is to be kept, by the keys that they have in files.

    Raises `InputError` for a name or an option that a preset cannot have.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"The name of a preset is {short(name)}; use lower-case letters, digits, . _ and -."
        )
    record = Record(dict(options), "", None)
    record.allow(PRESET_KEYS)
    kept = {key: value for key, value in record.data.items() if value is not None}
    if not kept:
        known = ", ".join(sorted(PRESET_KEYS & FILM_KEYS))
        raise InputError(f"The preset {name} has no options; give it some of {known}.")
    return kept
