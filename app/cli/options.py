"""Options that several commands share, and what they mean for a film."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from film.errors import InputError
from film.reading.film import film_from_prompt, read_script
from film.types import FilmRequest

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Seconds = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Length of the film. [20]", show_default=False),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="In pixels. [the model's: 96x64]", show_default=False),
]
Fps = Annotated[
    str | None,
    typer.Option(
        metavar="FPS",
        help="Frames a second, also as 24000/1001. [the model's: 8]",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Model: a name of `longreel models`, NAME=SOURCE for other weights of it (org/name, a "
        "folder or a .safetensors file), or a folder. [demo]",
        show_default=False,
    ),
]
Loras = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="SOURCE[:WEIGHT][:high|low]",
        help="LoRA: a .safetensors file, or org/name[@revision][/file] on the hub; may be "
        "repeated. [none]",
        show_default=False,
    ),
]
Seed = Annotated[
    str | None, typer.Option(metavar="NUMBER", help="Seed of the noise. [7]", show_default=False)
]
Negative = Annotated[
    str | None,
    typer.Option(
        "--negative-prompt",
        metavar="TEXT",
        help="What the picture should not show. [nothing]",
        show_default=False,
    ),
]
Steps = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER", help="Inference steps per segment. [the model's]", show_default=False
    ),
]
Guidance = Annotated[
    str | None,
    typer.Option(
        "--guidance-scale",
        metavar="NUMBER",
        help="How closely to follow the prompt. [the model's]",
        show_default=False,
    ),
]

Follow = Annotated[
    str | None,
    typer.Option(
        "--continuity",
        metavar="NAME",
        help="What a segment takes over from the one before it: cut, last_frame, tail_window, "
        "keyframes, native_long. [the model's best]",
        show_default=False,
    ),
]
Picture = Annotated[
    str | None,
    typer.Option("--image", metavar="FILE", help="Picture that the film begins with. [none]"),
]
LastPicture = Annotated[
    str | None,
    typer.Option("--last-image", metavar="FILE", help="Picture that it ends with. [none]"),
]
Flag = Annotated[
    list[str] | None,
    typer.Option(
        "--flag",
        metavar="NAME=VALUE",
        help="A switch of speed or memory, such as cache=first_block; may be given several times. "
        "[the model's]",
        show_default=False,
    ),
]
NoSound = Annotated[
    bool,
    typer.Option("--no-sound", help="Leave out the sound that the model makes."),
]

Priority = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Higher is rendered sooner. [the file's, or 0]",
        show_default=False,
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help='As "2026-11-30 18:00"; among equals the nearest is rendered first. [the file\'s]',
        show_default=False,
    ),
]
MaxWorkers = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER", help="Most segments rendered at a time. [the file's]", show_default=False
    ),
]
Tags = Annotated[
    str | None,
    typer.Option(
        metavar="TAGS",
        help="What workers must have, comma between. [the file's]",
        show_default=False,
    ),
]

_FILE_ENDINGS = {".yaml", ".yml", ".txt", ".md"}


def request_of(prompt_or_file: str, options: dict[str, Any]) -> FilmRequest:
    """The film of a prompt, a text file, a YAML script, or standard input (`-`).

    Raises `InputError`.
    """
    from flows.loras import located
    from flows.sources import naming

    # What is said on the command line counts from here, what a script says from the script.
    names = ("image", "last_image")
    here = {name: str(Path(options[name]).absolute()) for name in names if options.get(name)}
    options = {**options, **here}
    notices: tuple[str, ...] = ()
    if options.get("model"):
        named = naming(Path())(options["model"].strip())
        options["model"] = named.name
        notices = (named.notice,) if named.notice else ()
    request, folder = _read_request(prompt_or_file, options)
    (request,) = located([request], Path() if options.get("loras") else folder)
    return msgspec.structs.replace(request, notices=(*notices, *request.notices))


def _read_request(prompt_or_file: str, options: dict[str, Any]) -> tuple[FilmRequest, Path]:
    """The film, and the folder from which paths that are not in `options` count."""
    from flows.images import located
    from flows.sources import naming

    if prompt_or_file == "-":
        return film_from_prompt(sys.stdin.read(), options), Path()
    path = Path(prompt_or_file)
    if not _is_file(path):
        if _is_path(prompt_or_file):
            raise InputError(
                f"There is no file {prompt_or_file}; a prompt is written in words, in quotes."
            )
        return film_from_prompt(prompt_or_file, options), Path()
    text = read_file(path)
    if path.suffix in {".yaml", ".yml"}:
        script = read_script(text, str(path), options, naming(path.parent))
        return located([script], path.parent)[0], path.parent
    return film_from_prompt(text, options), Path()


def local_time(at: float) -> str:
    """Seconds since 1970 as people read them, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def read_file(path: Path) -> str:
    """The text of a file. Raises `InputError` where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _is_path(text: str) -> bool:
    """Whether someone meant a file: one word with a slash, or with a text file's ending."""
    one_word = text.isascii() and not any(c.isspace() for c in text)
    return one_word and ("/" in text or Path(text).suffix in _FILE_ENDINGS)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a prompt that is too long for a name, or holds a NUL
        return False
