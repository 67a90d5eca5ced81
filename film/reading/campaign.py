"""Many films: a campaign with its defaults and its matrix."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from film.errors import (
    MOST_REFUSALS,
    CampaignFileError,
    InputError,
    Refusal,
    RefusedFilmsError,
)
from film.families.lookup import as_named
from film.reading.film import NO_TAGS, Naming, read_film, title_of
from film.reading.forms import csv_records, json_record, jsonl_records, yaml_record
from film.reading.keys import CAMPAIGN_KEYS, CAMPAIGN_ONLY_KEYS, FILM_KEYS, MATRIX_KEYS
from film.reading.presets import Presets, no_presets
from film.reading.record import Record, child_of, items_of
from film.reading.values import (
    read_deadline,
    read_gpu_time,
    read_integer,
    read_over_budget,
    read_tags,
    read_text,
    read_workers,
)
from film.types import Campaign, FilmRequest

MAX_FILMS = 100_000


class Defaults:
    """The values of a film that has none of its own: the campaign's, else the model's."""

    def __init__(self, record: Record | None = None) -> None:
        self.data = record.data if record else {}
        self.lines = record.lines if record else {}

    def under(self, record: Record) -> Record:
        """`record` with these defaults filled in."""
        # A film with scenes of its own does not inherit a prompt, nor the other way round.
        own = {"prompt", "scenes"} & record.data.keys()
        filled = {k: v for k, v in self.data.items() if not (own and k in {"prompt", "scenes"})}
        filled.update({k: v for k, v in record.data.items() if v is not None})
        lines = {k: n for k, n in self.lines.items() if record.data.get(k) is None}
        return Record(filled, record.source, record.line, {**record.lines, **lines})


def read_campaign(
    text: str,
    source: str,
    name: str,
    naming: Naming = as_named,
    presets: Presets = no_presets,
) -> Campaign:
    """The campaign in `text`, whose form follows from the ending of `source`'s name.

    `name` is used if the file has none. Raises `CampaignFileError` naming the line, and
    `RefusedFilmsError` with every film that is wrong.
    """
    if not text.strip():
        raise CampaignFileError(source, None, "the file is empty")
    ending = source.lower()
    if ending.endswith(".jsonl"):
        return Campaign(
            name=name, films=_films(jsonl_records(text, source), Defaults(), naming, presets)
        )
    if ending.endswith(".csv"):
        return Campaign(
            name=name, films=_films(csv_records(text, source), Defaults(), naming, presets)
        )
    read = json_record if ending.endswith(".json") else yaml_record
    return _campaign(read(text, source), name, naming, presets)


def is_campaign(text: str, source: str) -> bool:
    """True if a file describes many films, rather than one. Raises `CampaignFileError`."""
    ending = source.lower()
    if ending.endswith((".jsonl", ".csv")):
        return True
    if not ending.endswith((".yaml", ".yml")) or not text.strip():
        return False
    data = yaml_record(text, source).data
    return isinstance(data, dict) and bool(data.keys() & CAMPAIGN_ONLY_KEYS)


def with_wishes(campaign: Campaign, options: Mapping[str, Any]) -> Campaign:
    """`campaign` with the values in `options` (`priority`, `deadline`, `max_workers`, `budget`,
    `over_budget`, `tags`) instead.

    Raises `CampaignFileError`.
    """
    record = Record({k: v for k, v in options.items() if v is not None}, "", None)
    films = campaign.films
    if "tags" in record.data:
        tags = record.get("tags", read_tags, NO_TAGS)
        films = tuple(with_tags(film, tags) for film in films)
    return campaign.replace(
        films=films,
        priority=record.get("priority", read_integer, campaign.priority),
        deadline=record.get("deadline", read_deadline, campaign.deadline),
        max_workers=record.get("max_workers", read_workers, campaign.max_workers),
        budget_seconds=record.get("budget", read_gpu_time, campaign.budget_seconds),
        over_budget=record.get("over_budget", read_over_budget, campaign.over_budget),
    )


def with_tags(film: FilmRequest, tags: Iterable[str]) -> FilmRequest:
    """`film`, requiring `tags` of its workers and no others."""
    return film.replace(tags=tuple(sorted(set(tags))))


def _campaign(record: Record, name: str, naming: Naming, presets: Presets) -> Campaign:
    if record.data.keys() & {"scenes", "prompt"}:
        raise CampaignFileError(
            record.source, None, f"this is one film; use `longreel render {record.source}`"
        )
    record.allow(CAMPAIGN_KEYS)
    defaults = Defaults()
    if record.data.get("defaults") is not None:
        child = child_of(record, "defaults")
        child.allow(FILM_KEYS - {"title"})
        defaults = Defaults(child)
    records = itertools.chain(items_of(record, "films"), _matrix(record, defaults))
    films = _films(records, defaults, naming, presets)
    tags = record.get("tags", read_tags, NO_TAGS)
    return Campaign(
        name=record.get("name", read_text, name),
        films=tuple(with_tags(film, (*film.tags, *tags)) for film in films) if tags else films,
        priority=record.get("priority", read_integer, 0),
        deadline=record.get("deadline", read_deadline, None),
        max_workers=record.get("max_workers", read_workers, None),
        budget_seconds=record.get("budget", read_gpu_time, None),
        over_budget=record.get("over_budget", read_over_budget, None),
    )


def _films(
    records: Iterator[Record] | itertools.chain[Record],
    defaults: Defaults,
    naming: Naming,
    presets: Presets,
) -> Any:
    some = itertools.islice(records, MAX_FILMS + 1)
    films, refusals = _read_all(some, defaults, naming, presets)
    if refusals:
        raise RefusedFilmsError(refusals)
    if not films:
        raise InputError("The campaign has no films; give it `films`, or a `matrix` of prompts.")
    if len(films) > MAX_FILMS:
        raise InputError(f"The campaign has over {MAX_FILMS} films; submit it in parts.")
    return films


def _read_all(
    records: Iterator[Record], defaults: Defaults, naming: Naming, presets: Presets
) -> tuple[tuple[FilmRequest, ...], list[Refusal]]:
    """The films, and why others are refused. Reading ends at a record that is none."""
    films: list[FilmRequest] = []
    refusals: list[Refusal] = []
    number = 0
    while len(refusals) < MOST_REFUSALS:
        number += 1
        try:
            record = next(records)
        except StopIteration:
            break
        except CampaignFileError as error:
            refusals.append(Refusal(number, str(error), error.line))
            break
        try:
            films.append(read_film(defaults.under(record), naming, presets))
        except CampaignFileError as error:
            refusals.append(Refusal(number, str(error), error.line))
    return tuple(films), refusals


def _matrix(record: Record, defaults: Defaults) -> Iterator[Record]:
    """One film for each combination of the matrix's lists, distinguished by their titles."""
    if record.data.get("matrix") is None:
        return
    matrix = child_of(record, "matrix")
    matrix.allow(set(MATRIX_KEYS))
    axes = {}
    for key in matrix.data:
        values = matrix.data[key]
        if not isinstance(values, list) or not values:
            raise matrix.error(f"{key}: expected a list with at least one value", key)
        axes[MATRIX_KEYS[key]] = list(values)
    line = record.lines.get("matrix", record.line)
    told_apart = [key for key, values in axes.items() if len(values) > 1 and key != "prompt"]
    for values in itertools.product(*axes.values()):
        film = dict(zip(axes, values, strict=True))
        prompt = film.get("prompt", defaults.data.get("prompt"))
        if told_apart and isinstance(prompt, str):
            parts = [title_of(prompt), *(f"{key} {film[key]}" for key in told_apart)]
            film["title"] = " · ".join(parts)
        yield Record(film, record.source, line)
