"""The fields of a request for a video, in the dialects of the servers that speak `/v1/videos`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from app.api.openai.errors import ApiError
from film.errors import InputError
from film.plain_text import one_line
from film.types import Struct

ALIASES = {
    "duration": "seconds",
    "steps": "num_inference_steps",
    "step": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "generate_audio": "generate_sound",
    "num_outputs_per_prompt": "n",
    "lora": "loras",
    "image": "input_reference",
    "image_url": "input_reference",
    "start_image": "input_reference",
    "reference_url": "input_reference",
    "image_reference": "input_reference",
}
"""Other names of fields, as other clients send them."""
FIELDS = (
    *("prompt", "model", "seconds", "size", "resolution", "aspect_ratio", "width", "height"),
    *("input_reference", "last_image", "fps", "num_frames", "seed", "negative_prompt"),
    *("num_inference_steps", "guidance_scale", "continuity", "generate_sound", "loras"),
    "characters",
    *("title", "tags", "n", "user"),
)
"""The fields that are known."""
_NO_INTERPOLATION = "films are rendered at the rate of the model; choose it with fps"
_NO_UPSCALING = "films are rendered at the size that is asked for; choose it with size"
_NO_REFERENCE = "films take a first and a last picture only (input_reference, last_image)"
_OF_THE_MODEL = "it is fixed for each model"
UNSUPPORTED = {
    "guidance_scale_2": _OF_THE_MODEL,
    "true_cfg_scale": _OF_THE_MODEL,
    "flow_shift": _OF_THE_MODEL,
    "boundary_ratio": _OF_THE_MODEL,
    "enable_frame_interpolation": _NO_INTERPOLATION,
    "enable_upscaling": _NO_UPSCALING,
    "sound_duration": "sound is as long as the film",
    "diffusers_kwargs": "set the fields of the request in their place",
    "output_path": "the file is at /v1/videos/{id}/content",
    "input_references": _NO_REFERENCE,
    "video_reference": _NO_REFERENCE,
    "audio_reference": _NO_REFERENCE,
    "control_reference": _NO_REFERENCE,
    "control_type": _NO_REFERENCE,
    "source_video": _NO_REFERENCE,
    "source_audio": _NO_REFERENCE,
    "mask": _NO_REFERENCE,
    "masks": _NO_REFERENCE,
    "conditions": _NO_REFERENCE,
    "video_path": _NO_REFERENCE,
    "video_url": _NO_REFERENCE,
    "task": "it follows from the pictures that are sent",
    "target": "use size, seconds and fps",
}
"""Fields of other servers that Longreel has no counterpart for, each with the reason."""
DETAILS = {
    "frame_interpolation_exp": "enable_frame_interpolation",
    "frame_interpolation_scale": "enable_frame_interpolation",
    "frame_interpolation_model_path": "enable_frame_interpolation",
    "upscaling_model_path": "enable_upscaling",
    "upscaling_scale": "enable_upscaling",
}
"""Fields that mean something only if another one is set, which is refused."""
_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
_NUMBER: dict[str, Any] = {"type": "number"}
DOCUMENTED: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string", "minLength": 1, "examples": ["A red ball rolls over grass."]},
    "model": {"type": "string", "examples": ["demo"]},
    "seconds": {"type": "string", "default": "4", "examples": ["60"]},
    "size": {"type": "string", "examples": ["96x64"]},
    "resolution": {"type": "string", "examples": ["720p"]},
    "aspect_ratio": {"type": "string", "examples": ["16:9"]},
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
    "loras": {"type": "array", "items": {"type": "object"}},
    "title": _TEXT,
    "tags": {"type": "array", "items": _TEXT},
    "input_reference": {"type": "string", "format": "binary"},
    "last_image": {"type": "string", "format": "binary"},
    "frame_images": {"type": "array", "items": {"type": "object"}},
    "characters": {"type": "array", "items": {"type": "object"}},
    "extra_params": {"type": "object"},
}
"""Fields for the OpenAPI document."""
OPEN = ("extra_params", "extra_body", "extra_json", "video_params")
"""Objects, or JSON texts of objects, whose fields count as fields of the request."""
FRAMES = {"first_frame": "input_reference", "last_frame": "last_image"}
"""The fields that OpenRouter's `frame_images` stand for, by their `frame_type`."""
_NEUTRAL: tuple[Any, ...] = (None, "", False, "false", "False", "none", "null", [], {})
_SHOWN = 60


class Given(Struct, frozen=True, kw_only=True):
    """The fields of a request by the names that are known here."""

    fields: dict[str, Any]
    notices: tuple[str, ...] = ()
    """What is to be said of fields that are not known."""


def read_fields(fields: Mapping[str, Any], *, lenient: bool = False) -> Given:
    """Reads the fields of a request, also those inside `OPEN` objects, under any of their names.

    With `lenient`, fields that are not known are noted rather than refused. Raises `ApiError`
    naming a field that is not known, not supported, or given twice.
    """
    found: dict[str, Any] = {}
    notices: list[str] = []
    for given, value in _unfold(fields):
        if value is None or value == "":
            continue
        name = ALIASES.get(given, given)
        if name not in FIELDS:
            _refuse(given, value, lenient)
            if given not in UNSUPPORTED and given not in DETAILS:
                notices.append(ignored_notice(given))
            continue
        if name in found and found[name] != value:
            message = f"The field {name} is given twice, with different values."
            raise ApiError(400, message, param=given, code="invalid_value")
        found[name] = value
    return Given(fields=found, notices=tuple(notices))


def require_known(
    fields: Mapping[str, Any], known: Collection[str], *, lenient: bool
) -> tuple[str, ...]:
    """The notices of the fields that are not among the `known` ones of a route, and are ignored
    because they are empty or the service is `lenient`. Raises `ApiError` for others."""
    unknown = [name for name, value in fields.items() if name not in known and value]
    if unknown and not lenient:
        shown = one_line(unknown[0])[:_SHOWN]
        names = ", ".join(known)
        message = f"The field {shown} is not known here; the known ones are: {names}."
        raise ApiError(400, message, param=shown, code="unknown_parameter")
    return tuple(map(ignored_notice, unknown))


def ignored_notice(name: str) -> str:
    """What a client reads about a field that was ignored."""
    return f"The field {one_line(name)[:_SHOWN]} is not known here and was ignored."


def _refuse(name: str, value: Any, lenient: bool) -> None:
    if name in DETAILS or (name in UNSUPPORTED and value in _NEUTRAL):
        return
    if name in UNSUPPORTED:
        message = f"The field {name} is not supported: {UNSUPPORTED[name]}."
        raise ApiError(400, message, param=name, code="unsupported_parameter")
    if not lenient:
        known = ", ".join(sorted(FIELDS))
        shown = one_line(name)[:_SHOWN]
        message = f"The field {shown} is not known here; the known ones are: {known}."
        raise ApiError(400, message, param=shown, code="unknown_parameter")


def _unfold(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if name in OPEN:
            yield from _unfold_frames(_object(name, value))
        else:
            yield from _unfold_frames({name: value})


def _unfold_frames(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if name == "frame_images" and value not in (None, "", []):
            yield from map(_frame, _frames(value))
        elif name != "frame_images":
            yield name, value


def _frames(value: Any) -> list[Any]:
    found = read_json(value)
    if not isinstance(found, list):
        raise InputError("frame_images: expected a list of pictures")
    return found


def _frame(value: Any) -> tuple[str, Any]:
    kind = value.get("frame_type") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in FRAMES or "image_url" not in value:
        kinds = " or ".join(FRAMES)
        raise InputError(f"frame_images: each needs an image_url, and {kinds} as its frame_type")
    return FRAMES[kind], {"image_url": value["image_url"]}


def _object(name: str, value: Any) -> Mapping[str, Any]:
    value = read_json(value) if value else {}
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected an object, or the JSON text of one")
    return value


def read_json(value: Any) -> Any:
    """The value of a JSON text that holds an object or a list; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
