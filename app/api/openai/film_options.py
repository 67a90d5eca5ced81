"""A film's options, as the fields of a request for a video ask for them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from app.api.openai.fields import read_json
from film.errors import InputError
from film.loras import hub_place
from film.models import ModelSpec
from film.reading.values import short

SECONDS = "4"
"""Length of a video if none is asked for."""
_SAME = (
    *("model", "fps", "seed", "negative_prompt", "num_inference_steps", "guidance_scale"),
    *("continuity", "title", "tags"),
)
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LINES = re.compile(r"(\d{2,4})p")
_LETTERS = {"1k": 1080, "2k": 1440, "4k": 2160}
_RATIO = re.compile(r"(\d{1,4}):(\d{1,4})")
_SIDES = re.compile(r"\d+x\d+")
_SOURCES = ("source", "path", "local_path", "lora_path", "name")
_WEIGHTS = ("weight", "scale", "lora_scale")
_ROUNDING = 0.05
"""Part by which a size may miss the aspect ratio that is given too: sides are multiples of 16."""


def film_options(fields: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """The options of a film of the model `spec` (keys as in a film's file) that the known fields of
    a request ask for, without prompt and pictures. Raises `InputError`."""
    options = {name: fields[name] for name in _SAME if name in fields}
    seed = options.get("seed")
    if isinstance(seed, list) and len(seed) == 1:  # one for each video, in SGLang's dialect
        options["seed"] = seed[0]
    options["seconds"] = _seconds(fields)
    options["size"] = film_size(fields, spec)
    if "generate_sound" in fields:
        options["sound"] = _flag(fields["generate_sound"], "generate_sound")
    if "loras" in fields:
        options["loras"] = film_loras(fields["loras"])
    if _count(fields.get("n", 1)) != 1:
        raise InputError("n: one video for each request")
    return options


def film_size(fields: Mapping[str, Any], spec: ModelSpec) -> Any:
    """The size of a film as `WIDTHxHEIGHT`, from `size`, `width` and `height`, `resolution` or
    `aspect_ratio`; None for the model's own. Raises `InputError`."""
    ratio = _ratio(fields["aspect_ratio"]) if "aspect_ratio" in fields else None
    resolution = str(fields.get("resolution", "")).strip()
    size = fields.get("size")
    if _SIDES.fullmatch(resolution):
        size = _agreed(size, resolution, "size: differs from resolution")
        resolution = ""
    if "width" in fields or "height" in fields:
        size = _agreed(size, _sides(fields), "size: differs from width and height")
    if size is None:
        return _derived(resolution, ratio, spec)
    if ratio is not None or resolution:
        _require_alike(str(size), resolution, ratio)
    return size


def film_loras(value: Any) -> list[dict[str, Any]]:
    """The LoRAs of a film, each by its name on the hub. Raises `InputError`."""
    value = read_json(value)
    return [_lora(item) for item in (value if isinstance(value, list) else [value])]


def _lora(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = {"source": value}
    if not isinstance(value, Mapping):
        raise InputError('loras: expected objects such as {"path": "org/name", "scale": 1}')
    source = next((value[name] for name in _SOURCES if value.get(name)), None)
    place = hub_place(source) if isinstance(source, str) else None
    if place is None or ".." in place.file.split("/"):
        raise InputError(
            f"loras: {short(source)} is not a LoRA on the hub; name it as org/name or "
            f"org/name/FILE.safetensors. Files of the server cannot be named."
        )
    weight = next((value[name] for name in _WEIGHTS if value.get(name) is not None), 1)
    found = {"source": source, "weight": weight}
    return {**found, "expert": value["expert"]} if value.get("expert") else found


def _agreed(one: Any, other: str, message: str) -> str:
    if one is not None and str(one) != other:
        raise InputError(message)
    return other


def _sides(fields: Mapping[str, Any]) -> str:
    width, height = (fields.get(name) for name in ("width", "height"))
    if width is None or height is None:
        name = "height" if height is None else "width"
        raise InputError(f"{name}: give both width and height, or size")
    return f"{width}x{height}"


def _ratio(value: Any) -> Fraction:
    found = _RATIO.fullmatch(str(value).strip())
    if found is None or "0" in (found[1].lstrip("0") or "0", found[2].lstrip("0") or "0"):
        raise InputError(f"aspect_ratio: expected WIDTH:HEIGHT such as 16:9, got {short(value)}")
    return Fraction(int(found[1]), int(found[2]))


def _lines(resolution: str) -> int:
    """The shorter side in pixels."""
    found = _LINES.fullmatch(resolution.lower())
    lines = int(found[1]) if found else _LETTERS.get(resolution.lower(), 0)
    if not lines:
        raise InputError(
            f"resolution: expected the shorter side such as 720p, or WIDTHxHEIGHT, got "
            f"{short(resolution)}"
        )
    return lines


def _derived(resolution: str, ratio: Fraction | None, spec: ModelSpec) -> str | None:
    if not resolution and ratio is None:
        return None
    width, height = spec.sizes[0]
    ratio = ratio or Fraction(width, height)
    if resolution:
        return _of_shorter_side(_lines(resolution), ratio)
    # As many pixels as the model's own size has.
    long = math.sqrt(width * height * ratio)
    return f"{_even(long)}x{_even(long / ratio)}"


def _of_shorter_side(lines: int, ratio: Fraction) -> str:
    if ratio >= 1:
        return f"{_even(lines * ratio)}x{_even(lines)}"
    return f"{_even(lines)}x{_even(lines / ratio)}"


def _even(side: float | Fraction) -> int:
    return 2 * round(side / 2)


def _require_alike(size: str, resolution: str, ratio: Fraction | None) -> None:
    if not _SIDES.fullmatch(size):
        return  # refused by its own reader
    width, height = map(int, size.split("x"))
    if not (width and height):
        return
    if resolution and _lines(resolution) != min(width, height):
        raise InputError("resolution: differs from size")
    if ratio is not None and abs(math.log(width / height / ratio)) > _ROUNDING:
        raise InputError("aspect_ratio: differs from size")


def _seconds(fields: Mapping[str, Any]) -> str:
    if "num_frames" not in fields:
        return str(fields.get("seconds", SECONDS))
    if "seconds" in fields:
        raise InputError("num_frames: give either seconds or num_frames")
    if "fps" not in fields:
        raise InputError("num_frames: fps is needed too")
    count = _count(fields["num_frames"])
    if count < 1:
        raise InputError("num_frames: expected a whole number above 0")
    try:
        return str(Fraction(count) / Fraction(str(fields["fps"])))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"fps: expected frames a second, got {fields['fps']!r}") from None


def _flag(value: Any, name: str) -> bool:
    text = str(value).lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise InputError(f"{name}: expected true or false")


def _count(value: Any) -> int:
    try:
        return int(str(value))
    except ValueError:
        return -1
