"""Options that several commands share, and what they mean for a film."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from film.campaign import film_from_prompt, read_script
from film.errors import InputError
from film.types import FilmRequest

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Seconds = Annotated[
    str | None, typer.Option(help="Length of the film in seconds.", show_default="20")
]
Size = Annotated[
    str | None, typer.Option(help="Width x height in pixels.", show_default="the model's: 96x64")
]
Fps = Annotated[
    str | None,
    typer.Option(help="Frames a second, also as 24000/1001.", show_default="the model's: 8"),
]
Model = Annotated[str | None, typer.Option(help="Model to render with.", show_default="demo")]
Seed = Annotated[str | None, typer.Option(help="Seed of the noise.", show_default="7")]
Negative = Annotated[
    str | None, typer.Option("--negative-prompt", help="What the picture should not show.")
]
Steps = Annotated[
    str | None, typer.Option(help="Inference steps per segment.", show_default="the model's")
]
Guidance = Annotated[
    str | None,
    typer.Option("--guidance-scale", help="How closely to follow.", show_default="the model's"),
]

_FILE_ENDINGS = {".yaml", ".yml", ".txt", ".md"}


def request_of(prompt_or_file: str, options: dict[str, Any]) -> FilmRequest:
    """The film of a prompt, a text file, a YAML script, or standard input (`-`).

    Raises `InputError`.
    """
    if prompt_or_file == "-":
        return film_from_prompt(sys.stdin.read(), options)
    path = Path(prompt_or_file)
    if not _is_file(path):
        if path.suffix in _FILE_ENDINGS and not any(c.isspace() for c in prompt_or_file):
            raise InputError(f"There is no file {prompt_or_file}.")
        return film_from_prompt(prompt_or_file, options)
    text = read_file(path)
    if path.suffix in {".yaml", ".yml"}:
        return read_script(text, str(path), options)
    return film_from_prompt(text, options)


def read_file(path: Path) -> str:
    """The text of a file. Raises `InputError` where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a prompt that is too long for a name, or holds a NUL
        return False
