"""What the user writes into frozen requests: campaign files, scripts, and command options.

Takes text, not paths, and names the line of anything it cannot read. A campaign is YAML
(`films`, `defaults`, `matrix`), JSON Lines or CSV (one film a line); a script is YAML with
`scenes`. The keys are the same everywhere.
"""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import Any, TypeVar

import msgspec

from film.errors import CampaignFileError, InputError
from film.flags import read_flags
from film.loras import read_loras
from film.models import NamedModel, as_named, find_model
from film.types import (
    Campaign,
    Continuity,
    FilmRequest,
    Lora,
    RenderSettings,
    SceneRequest,
    Seam,
    parse_fraction,
)

T = TypeVar("T")

DEFAULT_SECONDS = Fraction(20)
DEFAULT_SEED = 7
NO_TAGS: tuple[str, ...] = ()
NO_FLAGS: dict[str, Any] = {}
NO_LORAS: tuple[Lora, ...] = ()
Naming = Callable[[str], NamedModel]
"""Makes out which model a text means; raises `InputError`. Paths are for the caller to look at."""
MAX_FPS = 120
MAX_SECONDS = 365 * 24 * 3600
"""Keeps the arithmetic of lengths in bounds; how long films may be is a setting."""
MAX_FILMS = 100_000
NESTED = "the lists and mappings are nested too deeply"
RUAMEL_ERRORS = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError)
"""What ruamel.yaml lets escape on odd tags, beside its own errors."""

FILM_KEYS = {
    "title", "prompt", "scenes", "seconds", "size", "fps", "model", "seed",
    "negative_prompt", "num_inference_steps", "guidance_scale", "continuity", "tags",
    "image", "last_image", "sound", "loras", "flags",
}  # fmt: skip
ALIASES = {"steps": "num_inference_steps", "guidance": "guidance_scale", "lora": "loras"}
SCENE_KEYS = {"prompt", "seconds", "seed", "seam", "continuity", "image", "last_image"}
CAMPAIGN_KEYS = {
    "name", "priority", "deadline", "max_workers", "tags", "defaults", "films", "matrix",
}  # fmt: skip
MATRIX_KEYS = {"prompts": "prompt", "models": "model", "seeds": "seed", "sizes": "size"}


class Record:
    """A mapping the user wrote, with the line of each key, read key by key."""

    def __init__(
        self, data: Any, source: str, line: int | None, lines: Mapping[str, int] | None = None
    ) -> None:
        self.source, self.line, self.lines = source, line, lines or {}
        if not isinstance(data, Mapping):
            raise self.error(f"expected keys and values here, got {_short(data)}")
        self.data: dict[str, Any] = {}
        for written, value in data.items():
            key = _key(written)
            if key in self.data:
                raise self.error(f"{key} is given twice, in two spellings", key)
            self.data[key] = value

    def error(self, problem: str, key: str | None = None) -> CampaignFileError:
        """The error to raise for `key` (or the record as a whole)."""
        line = self.lines.get(key, self.line) if key else self.line
        return CampaignFileError(self.source, line, problem)

    def allow(self, keys: set[str]) -> None:
        """Raises on the first key that is none of `keys`."""
        for key in self.data:
            if key not in keys:
                meant = difflib.get_close_matches(key, keys, 1)
                hint = f"; did you mean {meant[0]!r}?" if meant else ""
                known = f" (known are {', '.join(sorted(keys))})"
                raise self.error(f"unknown key {key!r}{hint}{known}", key)

    def get(self, key: str, read: Callable[[Any], T], default: T) -> T:
        """The value of `key` through `read`, or `default` where it is missing or empty."""
        value = self.data.get(key)
        if value is None:
            return default
        try:
            return read(value)
        except ValueError as error:
            raise self.error(f"{key}: {error}", key) from None


class Defaults:
    """A film's values where it has none of its own: the campaign's, else the model's."""

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


def read_campaign(text: str, source: str, name: str, naming: Naming = as_named) -> Campaign:
    """The campaign in `text`, whose form follows from the ending of `source`'s name.

    `name` is used where the file gives none. Raises `CampaignFileError` naming the line.
    """
    if not text.strip():
        raise CampaignFileError(source, None, "the file is empty")
    if source.endswith(".jsonl"):
        return Campaign(name=name, films=_films(_jsonl(text, source), Defaults(), naming))
    if source.endswith(".csv"):
        return Campaign(name=name, films=_films(_csv(text, source), Defaults(), naming))
    return _yaml_campaign(_yaml(text, source), name, naming)


def read_script(
    text: str, source: str, options: Mapping[str, Any], naming: Naming = as_named
) -> FilmRequest:
    """The film of a YAML script; `options` (keys as in the file) win over what it says."""
    record = _yaml(text, source)
    if record.data.keys() & (CAMPAIGN_KEYS - {"name"}):
        raise CampaignFileError(
            source, None, f"this is a campaign of many films; use `longreel submit {source}`"
        )
    record.allow(FILM_KEYS)
    merged = record.data | {_key(k): v for k, v in options.items() if v is not None}
    return read_film(Record(merged, source, record.line, record.lines), naming)


def film_from_prompt(
    prompt: str, options: Mapping[str, Any], naming: Naming = as_named
) -> FilmRequest:
    """The film of a prompt given on the command line, with `options` as in a file's keys."""
    data = {"prompt": prompt} | {k: v for k, v in options.items() if v is not None}
    return read_film(Record(data, "", None), naming)


def read_film(record: Record, naming: Naming = as_named) -> FilmRequest:
    """One film from its keys, defaults filled in. Raises `CampaignFileError`."""
    record.allow(FILM_KEYS)
    scenes = _scenes(record)
    prompt = record.get("prompt", read_text, "")
    if bool(scenes) == bool(prompt):
        raise record.error(
            "a film has either a prompt or scenes, not both"
            if scenes
            else "a film needs a prompt with text in it, or scenes",
            "prompt",
        )
    try:
        named = naming(record.get("model", read_text, "demo"))
        spec = find_model(named.name)
    except CampaignFileError:
        raise
    except InputError as error:
        raise record.error(str(error), "model") from None
    width, height = record.get("size", read_size, spec.sizes[0])
    first = prompt or scenes[0].prompt
    return FilmRequest(
        title=record.get("title", read_text, "") or title_of(first),
        prompt=prompt,
        scenes=scenes,
        seconds=record.get("seconds", read_seconds, None if scenes else DEFAULT_SECONDS),
        width=width,
        height=height,
        fps=record.get("fps", read_fps, spec.native_fps),
        settings=RenderSettings(
            model=spec.name,
            seed=record.get("seed", read_seed, DEFAULT_SEED),
            negative_prompt=record.get("negative_prompt", read_text, ""),
            num_inference_steps=record.get(
                "num_inference_steps", read_steps, spec.num_inference_steps
            ),
            guidance_scale=record.get("guidance_scale", read_guidance, spec.guidance_scale),
            continuity=record.get("continuity", read_continuity, spec.continuity[0]),
            flags=msgspec.structs.replace(spec.flags, **record.get("flags", read_flags, NO_FLAGS)),
            loras=record.get("loras", read_loras, NO_LORAS),
        ),
        tags=record.get("tags", read_tags, NO_TAGS),
        image=record.get("image", read_text, ""),
        last_image=record.get("last_image", read_text, ""),
        sound=record.get("sound", read_flag, True),
        notices=(named.notice,) if named.notice else (),
    )


def title_of(prompt: str, limit: int = 48) -> str:
    """A short title from the beginning of a prompt, cut at a word."""
    line = " ".join(prompt.split())
    if len(line) <= limit:
        return line.rstrip(".。") or "film"
    head = line[:limit]
    return (head.rsplit(" ", 1)[0] if " " in head[limit // 2 :] else head) + "…"


# -- forms -----------------------------------------------------------------------------------


def _yaml_campaign(record: Record, name: str, naming: Naming) -> Campaign:
    if record.data.keys() & {"scenes", "prompt"}:
        raise CampaignFileError(
            record.source, None, f"this is one film; use `longreel render {record.source}`"
        )
    record.allow(CAMPAIGN_KEYS)
    defaults = Defaults()
    if record.data.get("defaults") is not None:
        child = _child(record, "defaults")
        child.allow(FILM_KEYS - {"title"})
        defaults = Defaults(child)
    records = itertools.chain(_items(record, "films"), _matrix(record, defaults))
    films = _films(records, defaults, naming)
    tags = record.get("tags", read_tags, NO_TAGS)
    return Campaign(
        name=record.get("name", read_text, name),
        films=tuple(with_tags(film, (*film.tags, *tags)) for film in films) if tags else films,
        priority=record.get("priority", read_integer, 0),
        deadline=record.get("deadline", read_deadline, None),
        max_workers=record.get("max_workers", read_workers, None),
    )


def with_wishes(campaign: Campaign, options: Mapping[str, Any]) -> Campaign:
    """`campaign` with what `options` say instead (`priority`, `deadline`, `max_workers`, `tags`).

    Raises `CampaignFileError`.
    """
    record = Record({k: v for k, v in options.items() if v is not None}, "", None)
    films = campaign.films
    if "tags" in record.data:
        tags = record.get("tags", read_tags, NO_TAGS)
        films = tuple(with_tags(film, tags) for film in films)
    return msgspec.structs.replace(
        campaign,
        films=films,
        priority=record.get("priority", read_integer, campaign.priority),
        deadline=record.get("deadline", read_deadline, campaign.deadline),
        max_workers=record.get("max_workers", read_workers, campaign.max_workers),
    )


def with_tags(film: FilmRequest, tags: Iterable[str]) -> FilmRequest:
    """`film`, requiring `tags` of its workers and no others."""
    return msgspec.structs.replace(film, tags=tuple(sorted(set(tags))))


def _films(
    records: Iterator[Record] | itertools.chain[Record], defaults: Defaults, naming: Naming
) -> Any:
    films = tuple(
        read_film(defaults.under(record), naming)
        for record in itertools.islice(records, MAX_FILMS + 1)
    )
    if not films:
        raise InputError("The campaign has no films; give it `films`, or a `matrix` of prompts.")
    if len(films) > MAX_FILMS:
        raise InputError(f"The campaign has over {MAX_FILMS} films; submit it in parts.")
    return films


def _matrix(record: Record, defaults: Defaults) -> Iterator[Record]:
    """One film for each combination of the matrix's lists; titles tell them apart."""
    if record.data.get("matrix") is None:
        return
    matrix = _child(record, "matrix")
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


def _scenes(record: Record) -> tuple[SceneRequest, ...]:
    scenes = []
    for item in _items(record, "scenes"):
        item.allow(SCENE_KEYS)
        prompt = item.get("prompt", read_text, "")
        if not prompt:
            raise item.error("a scene needs a prompt with text in it", "prompt")
        scenes.append(
            SceneRequest(
                prompt=prompt,
                seconds=item.get("seconds", read_seconds, None),
                seed=item.get("seed", read_seed, None),
                seam=item.get("seam", read_seam, Seam.CUT),
                continuity=item.get("continuity", read_continuity, None),
                image=item.get("image", read_text, ""),
                last_image=item.get("last_image", read_text, ""),
            )
        )
    if scenes and scenes[0].seam is Seam.CONTINUE:
        raise record.error("the first scene has nothing to continue; let it cut", "scenes")
    if record.data.get("scenes") is not None and not scenes:
        raise record.error("scenes: the list is empty", "scenes")
    return tuple(scenes)


def _items(record: Record, key: str) -> Iterator[Record]:
    """The mappings in the list at `key`; in a list of bare texts each is a prompt."""
    items = record.data.get(key)
    if items is None:
        return
    if not isinstance(items, list):
        raise record.error(f"{key}: expected a list", key)
    places = getattr(getattr(items, "lc", None), "data", None) or {}
    for index, item in enumerate(items):
        line = places[index][0] + 1 if index in places else record.line
        if isinstance(item, str):
            item = {"prompt": item}
        yield Record(item, record.source, line, _lines_of(item))


def _child(record: Record, key: str) -> Record:
    data = record.data[key]
    return Record(data, record.source, record.lines.get(key, record.line), _lines_of(data))


def _lines_of(data: Any) -> dict[str, int]:
    """Line (from 1) of each key of a mapping that ruamel.yaml read."""
    place_of: Mapping[Any, Any] = getattr(getattr(data, "lc", None), "data", None) or {}
    return {_key(key): place[0] + 1 for key, place in place_of.items()}


def _key(written: Any) -> str:
    """A key as we name it; what YAML takes for a number or a list becomes text."""
    text = written if isinstance(written, str) else _short(written)
    return ALIASES.get(text, str(text))


def _yaml(text: str, source: str) -> Record:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it
            data = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        problem = str(error.problem).split("\n")[0]
        raise CampaignFileError(source, mark.line + 1 if mark else None, problem) from None
    except RecursionError:
        raise CampaignFileError(source, None, NESTED) from None
    except (YAMLError, *RUAMEL_ERRORS) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise CampaignFileError(source, None, f"not YAML: {problem}") from None
    return Record(data, source, 1, _lines_of(data))


def _jsonl(text: str, source: str) -> Iterator[Record]:
    # Not splitlines(), which also splits at characters that JSON allows inside a text.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line, object_pairs_hook=_once_each)
        except ValueError as error:
            place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            problem = getattr(error, "msg", str(error))
            raise CampaignFileError(source, number, f"not JSON: {problem}{place}") from None
        except RecursionError:
            raise CampaignFileError(source, number, NESTED) from None
        yield Record(data, source, number)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return data


def _csv(text: str, source: str) -> Iterator[Record]:
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        header = [name.strip() for name in rows.fieldnames or ()]
        if len(set(header)) < len(header):
            raise CampaignFileError(source, rows.line_num, "the header names a column twice")
        if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
            raise CampaignFileError(source, 1, "separate the cells of a row with commas")
        Record(dict.fromkeys(header), source, 1).allow(FILM_KEYS)
        for row in rows:
            if None in row or None in row.values():
                raise CampaignFileError(
                    source, rows.line_num, "the row has not as many cells as the header"
                )
            data = {key.strip(): cell for key, cell in row.items() if cell.strip()}
            yield Record(data, source, rows.line_num)
    except csv.Error as error:
        # `line_num` is where the last row that could be read ended.
        raise CampaignFileError(source, rows.line_num + 1, str(error)) from None


# -- values ----------------------------------------------------------------------------------


def read_text(value: Any) -> str:
    """Text without surrounding space; a number is taken as its digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"expected text, got {_short(value)}")
    text = str(value).strip()
    if "\0" in text:
        raise ValueError("the text holds a NUL character; remove it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the text holds half a character (a lone surrogate); remove it")
    return text


def read_flag(value: Any) -> bool:
    """`true` or `false`, also as text (a CSV file has nothing else), and `yes` or `no`."""
    flags = {"true": True, "yes": True, "false": False, "no": False}
    try:
        return flags[str(value).strip().lower()]
    except KeyError:
        raise ValueError(f"expected true or false, got {_short(value)}") from None


def read_size(value: Any) -> tuple[int, int]:
    """`96x64` into width and height in pixels."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*[x×X*]\s*(\d{1,5})\s*", str(value))
    if not match:
        raise ValueError(f"expected WIDTHxHEIGHT such as 96x64, got {_short(value)}")
    return int(match[1]), int(match[2])


def read_seconds(value: Any) -> Fraction:
    """A length above zero, in seconds."""
    seconds = parse_fraction(value)
    if not 0 < seconds <= MAX_SECONDS or seconds.denominator > 10**400:
        raise ValueError(f"expected seconds above 0 and below a year, got {_short(value)}")
    return seconds


def read_fps(value: Any) -> Fraction:
    """A rate between 1 and `MAX_FPS` frames a second, exact."""
    fps = parse_fraction(value)
    if not 1 <= fps <= MAX_FPS or fps.denominator > 1001:
        raise ValueError(f"expected 1 to {MAX_FPS} frames a second, got {_short(value)}")
    return fps


def read_integer(value: Any) -> int:
    """A whole number, also from its digits."""
    try:
        number = parse_fraction(value)
    except ValueError:
        number = Fraction(1, 2)
    if number.denominator != 1 or abs(number) >= 2**31:
        raise ValueError(f"expected a whole number, got {_short(value)}")
    return int(number)


def read_seed(value: Any) -> int:
    """A seed from 0 to 2^31 - 1."""
    seed = read_integer(value)
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}")
    return seed


def read_steps(value: Any) -> int:
    """Inference steps from 1 to 1000."""
    steps = read_integer(value)
    if not 1 <= steps <= 1000:
        raise ValueError(f"expected 1 to 1000 steps, got {steps}")
    return steps


def read_guidance(value: Any) -> float:
    """A guidance scale from 0 to 100; 1 means none."""
    scale = parse_fraction(value)
    if not 0 <= scale <= 100:
        raise ValueError(f"expected a guidance scale of 0 to 100, got {_short(value)}")
    return float(scale)


def read_tags(value: Any) -> tuple[str, ...]:
    """Tags from a list, or from a text with commas or spaces between; sorted."""
    written = (
        value if isinstance(value, list) else re.split(r"[,\s]+", read_text(value).strip(", "))
    )
    tags = [tag for tag in map(read_text, written) if tag]
    for tag in tags:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,31}", tag, re.ASCII):
            raise ValueError(f"expected tags of letters, digits, . _ and -, got {_short(tag)}")
    return tuple(sorted(set(tags)))


def read_deadline(value: Any) -> float:
    """A date, or a date with a time, as seconds since 1970; local time where no zone is given."""
    try:
        text = value.isoformat() if isinstance(value, date) else read_text(value)
        when = datetime.fromisoformat(text)
        if len(text) <= len("2026-11-30"):
            when = when.replace(hour=23, minute=59, second=59)
        return when.timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"expected a date such as 2026-11-30 18:00, got {_short(value)}") from None


def read_workers(value: Any) -> int:
    """A number of workers, 1 or more."""
    number = read_integer(value)
    if number < 1:
        raise ValueError(f"expected 1 worker or more, got {number}")
    return number


def read_seam(value: Any) -> Seam:
    """`cut` or `continue`."""
    try:
        return Seam(str(value).strip().lower())
    except ValueError:
        raise ValueError(f"expected cut or continue, got {_short(value)}") from None


def read_continuity(value: Any) -> Continuity:
    """One of the strategies, by its name."""
    try:
        return Continuity(read_text(value).lower().replace("-", "_"))
    except ValueError:
        names = ", ".join(Continuity)
        raise ValueError(f"expected one of {names}, got {_short(value)}") from None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:
        return "a number with thousands of digits"
    except RecursionError:
        return "something that contains itself"
    return text if len(text) <= 60 else text[:57] + "…"
