"""The fields of a request for a video, in the dialects of the servers that speak `/v1/videos`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from app.api.openai.errors import ApiError
from film.errors import InputError

ALIASES = {
    "duration": "seconds",
    "resolution": "size",
    "steps": "num_inference_steps",
    "step": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "generate_audio": "generate_sound",
    "image": "input_reference",
    "start_image": "input_reference",
    "reference_url": "input_reference",
    "image_reference": "input_reference",
}
"""Other names of fields, as other clients send them."""
FIELDS = (
    *("prompt", "model", "seconds", "size", "input_reference", "last_image", "width", "height"),
    *("fps", "num_frames", "seed", "negative_prompt", "num_inference_steps", "guidance_scale"),
    *("continuity", "generate_sound", "title", "tags", "n", "user"),
)
"""The fields that are known."""
_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
_NUMBER: dict[str, Any] = {"type": "number"}
DOCUMENTED: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string", "minLength": 1, "examples": ["A red ball rolls over grass."]},
    "model": {"type": "string", "examples": ["demo"]},
    "seconds": {"type": "string", "default": "4", "examples": ["60"]},
    "size": {"type": "string", "examples": ["96x64"]},
    "width": _WHOLE,
    "height": _WHOLE,
    "fps": _TEXT,
    "num_frames": _WHOLE,
    "seed": _WHOLE,
    "negative_prompt": _TEXT,
    "num_inference_steps": _WHOLE,
    "guidance_scale": _NUMBER,
    "continuity": _TEXT,
    "generate_sound": {"type": "boolean"},
    "title": _TEXT,
    "tags": {"type": "array", "items": _TEXT},
    "input_reference": {"type": "string", "format": "binary"},
    "last_image": {"type": "string", "format": "binary"},
    "extra_params": {"type": "object"},
}
"""Fields for the OpenAPI document."""
OPEN = ("extra_params", "extra_body", "extra_json", "video_params")
"""Objects, or JSON texts of objects, whose fields count as fields of the request."""
SECONDS = "4"
"""Length of a video if none is asked for."""

_SAME = (
    *("model", "size", "fps", "seed", "negative_prompt", "num_inference_steps", "guidance_scale"),
    *("continuity", "title", "tags"),
)
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by the names that are known, those in `OPEN` objects among them.

    Raises `ApiError` naming a field that is not known, or is given twice.
    """
    found: dict[str, Any] = {}
    for given, value in _unfolded(fields):
        if value is None or value == "":
            continue
        name = ALIASES.get(given, given)
        if name not in FIELDS:
            known = ", ".join(sorted(FIELDS))
            message = f"The field {given} is not known here; the known ones are: {known}."
            raise ApiError(400, message, param=given, code="unknown_parameter")
        if name in found and found[name] != value:
            message = f"The field {name} is given twice, with different values."
            raise ApiError(400, message, param=given, code="invalid_value")
        found[name] = value
    return found


def _unfolded(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for name, value in fields.items():
        items += _object(name, value).items() if name in OPEN else [(name, value)]
    return items


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError:
            value = "not JSON"
    elif value is None:
        value = {}
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected an object, or the JSON text of one")
    return value


def film_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a film (keys as in a film's file) that known fields ask for; without prompt
    and pictures. Raises `InputError`."""
    options = {name: fields[name] for name in _SAME if name in fields}
    options["seconds"] = _seconds(fields)
    if "width" in fields or "height" in fields:
        options["size"] = _size(fields)
    if "generate_sound" in fields:
        options["sound"] = _flag(fields["generate_sound"], "generate_sound")
    if _count(fields.get("n", 1)) != 1:
        raise InputError("n: one video for each request")
    return options


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


def _size(fields: Mapping[str, Any]) -> str:
    width, height = (fields.get(name) for name in ("width", "height"))
    size = f"{width}x{height}"
    if width is None or height is None:
        name = "height" if height is None else "width"
        raise InputError(f"{name}: give both width and height, or size")
    if fields.get("size", size) != size:
        raise InputError("size: differs from width and height")
    return size


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
