"""Jobs for a rendering process in as few words as tests need."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from film.types import JobFiles, RenderJob, RenderSettings, Segment

_SEGMENT = set(Segment.__struct_fields__) - {"image", "last_image"}
_SETTINGS = set(RenderSettings.__struct_fields__) - {"seed", "loras"}
_FILES = set(JobFiles.__struct_fields__)
_JOB = RenderJob(
    segment_id=1,
    attempt=1,
    segment=Segment(
        index=0,
        scene=0,
        prompt="",
        seed=7,
        num_frames=1,
        overlap_frames=0,
        keep_frames=1,
        continues=None,
        address="0" * 64,
    ),
    settings=RenderSettings(
        model="", seed=7, negative_prompt="", num_inference_steps=1, guidance_scale=1.0
    ),
    revision="r1",
    rendered_size=(32, 32),
    film_size=(32, 32),
    fps=Fraction(8),
    tail_frames=1,
)


def changed(job: RenderJob, **values: Any) -> RenderJob:
    """`job` with other values, each named as the part that has it names it; also `width` and
    `height` in pixels, which the model renders."""
    width, height = job.rendered_size
    size = (values.pop("width", width), values.pop("height", height))
    parts: dict[str, dict[str, Any]] = {"segment": {}, "settings": {}, "files": {}, "job": {}}
    for name, value in values.items():
        own = ((_SEGMENT, "segment"), (_SETTINGS, "settings"), (_FILES, "files"))
        parts[next((part for names, part in own if name in names), "job")][name] = value
    return job.replace(
        segment=job.segment.replace(**parts["segment"]),
        settings=job.settings.replace(**parts["settings"]),
        files=job.files.replace(**parts["files"]),
        rendered_size=size,
        **parts["job"],
    )


def a_job(**values: Any) -> RenderJob:
    """A job with these values; see `changed`."""
    return changed(_JOB, **values)
