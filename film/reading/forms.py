"""The forms of files: YAML, JSON Lines and CSV become records."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

from film.errors import CampaignFileError
from film.reading.keys import FILM_KEYS
from film.reading.record import Record, lines_of

NESTED = "the lists and mappings are nested too deeply"
RUAMEL_ERRORS = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError)
"""Errors that ruamel.yaml raises on odd tags, in addition to its own."""


def yaml_record(text: str, source: str) -> Record:
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
    return Record(data, source, 1, lines_of(data))


def json_record(text: str, source: str) -> Record:
    """A JSON object. Not read as YAML, which is slower and refuses some characters of JSON."""
    try:
        data = json.loads(text, object_pairs_hook=_once_each)
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg} at column {error.colno}"
        raise CampaignFileError(source, error.lineno, problem) from None
    except ValueError as error:
        raise CampaignFileError(source, None, f"not JSON: {error}") from None
    except RecursionError:
        raise CampaignFileError(source, None, NESTED) from None
    return Record(data, source, None)


def jsonl_records(text: str, source: str) -> Iterator[Record]:
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


def csv_records(text: str, source: str) -> Iterator[Record]:
    text = text.removeprefix("\ufeff")
    # Excel writes, and reads, the separator in a line before the header.
    marked = re.match(r"sep=(.)[ \t]*\r?\n", text)
    separator, above = (marked[1], 1) if marked else (",", 0)
    lines = io.StringIO(text[marked.end() :] if marked else text, newline="")
    reader = csv.reader(lines, strict=True, delimiter=separator)
    header: list[str] | None = None
    try:
        for cells in reader:
            row, line = [cell.strip() for cell in cells], reader.line_num + above
            if not any(row):  # as spreadsheets write what is empty
                continue
            if header is None:
                header = _header(row, source, line)
                continue
            if len(row) != len(header):
                raise CampaignFileError(source, line, "the row has not as many cells as the header")
            if any(cell and not name for name, cell in zip(header, row, strict=True)):
                raise CampaignFileError(source, line, "a cell is in a column without a name")
            data = {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
            yield Record(data, source, line)
    except csv.Error as error:
        raise CampaignFileError(source, reader.line_num + above, str(error)) from None


def _header(names: list[str], source: str, line: int) -> list[str]:
    """The names of the columns; empty for one without. Raises `CampaignFileError`."""
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        raise CampaignFileError(source, line, "the header names a column twice")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise CampaignFileError(source, line, "separate the cells of a row with commas")
    Record(dict.fromkeys(named), source, line).allow(FILM_KEYS)
    return names
