"""The content address of a segment: everything that decides its pixels, hashed.

A segment that continues another one holds the address of that one, not its pixels. So every address
of a film is known when it is planned, and a change moves the addresses of exactly the segments that
follow it in its chain. What may differ between machines without being requested (processor,
threads, library versions) is recorded with the take instead: the address names the work, the take
records how it was done (docs/decisions/0004-content-address.md).
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

import msgspec

from film.flags import deciding
from film.models import Mode, ModelSpec
from film.types import FilmRequest, Plan, RenderFlags, RenderSettings, Struct, to_json

RECIPE = 3
"""Raised whenever our own rendering or encoding changes the bytes of a segment."""


class Identity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that decides the bytes of a take.

    A field with a default counts only if it has another value, so that a field added later moves no
    earlier address.
    """

    revision: str
    calling: str
    """Digest of how diffusers is called, see `called`."""
    prompt: str
    negative_prompt: str
    seed: int
    rendered_size: tuple[int, int]
    film_size: tuple[int, int]
    fps: Fraction
    num_frames: int
    overlap_frames: int
    keep_frames: int
    tail_frames: int
    num_inference_steps: int
    guidance_scale: float
    continues: str | None
    """Address of the segment whose tail conditions this one."""
    image: str = ""
    """Digest of the picture that it begins with."""
    last_image: str = ""
    """Digest of the picture that it ends with."""
    flags: RenderFlags | None = None
    """Those that decide the pixels."""
    loras: tuple[tuple[str, float, str | None], ...] = ()
    """Digest, weight and expert of each LoRA, sorted: they are always loaded in one order."""
    keyframes: tuple[int, ...] = ()
    """For an anchor, the numbers of the frames that are its tail."""
    keyframe: int | None = None
    """Which picture in the tail of the anchor that it `continues` it begins with."""


def identity(settings: RenderSettings, **fields: Any) -> Identity:
    """The `Identity` of a segment from its film's `settings` and the segment's own `fields`."""
    return Identity(
        negative_prompt=settings.negative_prompt,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        flags=deciding(settings.flags),
        loras=tuple((lora.digest, lora.weight, lora.expert) for lora in settings.loras),
        **fields,
    )


def called(spec: ModelSpec, mode: Mode) -> str:
    """Digest (hex) of how diffusers is called for a model in `mode`, by the model's row."""
    calling = spec.calling
    how = calling.replace(
        pipelines={mode: calling.pipelines[mode]},
        decodes_last=True,  # states only what may be done at the same time
    )
    return digest([to_json(how), str(spec.native_fps) if calling.fps else "", spec.echoes])


def address(parts: Identity) -> str:
    """64 hex digits: SHA-256 over the recipe number and the canonical JSON of `parts`."""
    return digest([RECIPE, to_json(parts)])


def film_digest(request: FilmRequest, plan: Plan) -> str:
    """64 hex digits: SHA-256 of everything that decides a finished film's bytes."""
    addresses = [segment.address for segment in plan.segments]
    # A film without sound keeps the digest of before there was sound. The number is raised whenever
    # the same takes are made into other sound.
    sound = [["sound", 1]] if plan.sound else []
    return digest(["film", 1, request.title, str(plan.fps), addresses, *sound])


def digest(data: Any) -> str:
    """SHA-256 (hex) of JSON data in canonical form: keys sorted, no spaces."""
    return hashlib.sha256(msgspec.json.encode(data, order="deterministic")).hexdigest()
