"""The options of a film, shared by `render` and `plan`, and the request made of them."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.options import read_file
from film.errors import InputError
from film.reading.film import Naming, film_from_prompt, read_script
from film.reading.presets import Presets, no_presets
from film.types import FilmRequest

PromptOrFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE|PROMPT",
        help="A prompt, a text file, a YAML script of scenes, or - for stdin.",
    ),
]
FilmsOrPrompt = Annotated[
    str,
    typer.Argument(
        metavar="FILE|PROMPT",
        help="A campaign (.yaml, .jsonl, .csv), a script of scenes, a text file, a prompt, or - "
        "for stdin.",
    ),
]
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
        help="How a segment continues the one before it: cut, last_frame, tail_window, "
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
        help="A speed or memory switch, such as cache=first_block; may be repeated. [the model's]",
        show_default=False,
    ),
]
NoSound = Annotated[
    bool,
    typer.Option("--no-sound", help="Leave out the sound that the model makes."),
]

Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A preset for what is not given: a name of `longreel presets`. [none]",
        show_default=False,
    ),
]

_ENDING = re.compile(r"\w\.[A-Za-z]\w{1,4}$")


def film_options(
    seconds: Seconds = None,
    size: Size = None,
    fps: Fps = None,
    model: Model = None,
    seed: Seed = None,
    negative_prompt: Negative = None,
    steps: Steps = None,
    guidance_scale: Guidance = None,
    continuity: Follow = None,
    image: Picture = None,
    last_image: LastPicture = None,
    flag: Flag = None,
    no_sound: NoSound = False,
    lora: Loras = None,
    preset: Preset = None,
) -> dict[str, Any]:
    """The options by the keys that they have in files; None if an option is not given."""
    return {
        "seconds": seconds,
        "size": size,
        "fps": fps,
        "model": model,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "continuity": continuity,
        "image": image,
        "last_image": last_image,
        "flags": " ".join(flag) if flag else None,
        "sound": False if no_sound else None,
        "loras": lora or None,
        "preset": preset,
    }


def with_film_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options of a film in place of its parameter `chosen`, which receives them
    as a mapping."""
    own = inspect.signature(command, eval_str=True)
    of_film = inspect.signature(film_options, eval_str=True).parameters
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += of_film.values() if parameter.name == "chosen" else [parameter]

    @functools.wraps(command)
    def given(**values: Any) -> None:
        film = {name: values.pop(name) for name in of_film}
        command(**values, chosen=film_options(**film))

    # Typer reads both.
    given.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    given.__annotations__ = {each.name: each.annotation for each in parameters}
    return given


def request_of(
    prompt_or_file: str,
    options: dict[str, Any],
    text: str | None = None,
    naming_of: Callable[[Path], Naming] | None = None,
    presets: Presets = no_presets,
) -> FilmRequest:
    """The film of a prompt, a text file, a YAML script, or standard input (`-`), whose `text` may
    have been read before.

    `naming_of` a folder makes out models; by default it looks at what is on this machine.
    `presets` has the options of presets by their names. Raises `InputError`.
    """
    from flows.model_catalog.resolve_name import naming as naming_here
    from flows.submission.lora_uploads import located

    naming = naming_of or naming_here

    # Paths on the command line count from here, paths in a script from the script.
    names = ("image", "last_image")
    here = {name: str(Path(options[name]).absolute()) for name in names if options.get(name)}
    options = {**options, **here}
    notices: tuple[str, ...] = ()
    if options.get("model"):
        named = naming(Path())(options["model"].strip())
        options["model"] = named.name
        notices = (named.notice,) if named.notice else ()
    request, folder = _read_request(prompt_or_file, options, text, naming, presets)
    (request,) = located([request], Path() if options.get("loras") else folder)
    return request.replace(notices=(*notices, *request.notices))


def _read_request(
    prompt_or_file: str,
    options: dict[str, Any],
    text: str | None,
    naming: Callable[[Path], Naming],
    presets: Presets,
) -> tuple[FilmRequest, Path]:
    """The film, and the folder from which paths that are not in `options` count."""
    from flows.submission.image_uploads import located

    if prompt_or_file == "-":
        text = sys.stdin.read() if text is None else text
        return film_from_prompt(text, options, presets=presets), Path()
    path = Path(prompt_or_file)
    if not is_file(path):
        if _is_path(prompt_or_file):
            raise InputError(
                f"There is no file {prompt_or_file}; a prompt is written in words, in quotes."
            )
        return film_from_prompt(prompt_or_file, options, presets=presets), Path()
    text = read_file(path)
    if path.suffix.lower() in {".yaml", ".yml"}:
        script = read_script(text, str(path), options, naming(path.parent), presets)
        return located([script], path.parent)[0], path.parent
    return film_from_prompt(text, options, presets=presets), Path()


def _is_path(text: str) -> bool:
    """True if `text` looks like a file: one word with a slash, or with a file's ending."""
    one_word = text.isascii() and not any(c.isspace() for c in text)
    return one_word and ("/" in text or bool(_ENDING.search(text)))


def is_file(path: Path) -> bool:
    """True if there is such a file; False for what cannot be a file's name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a prompt that is too long for a file name, or contains NUL
        return False
