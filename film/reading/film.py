"""One film: from a prompt and options, from a script, or from a record of a campaign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from film.errors import CampaignFileError, InputError
from film.families.lookup import NamedModel, as_named, find_model
from film.flags import read_flags
from film.loras import read_loras
from film.plain_text import one_line
from film.reading.forms import yaml_record
from film.reading.keys import CAMPAIGN_ONLY_KEYS, FILM_KEYS, SCENE_KEYS
from film.reading.presets import Presets, no_presets, with_preset
from film.reading.record import Record, items_of, key_of
from film.reading.values import (
    read_continuity,
    read_flag,
    read_fps,
    read_guidance,
    read_seam,
    read_seconds,
    read_seed,
    read_size,
    read_steps,
    read_tags,
    read_text,
    read_title,
)
from film.types import FilmRequest, Lora, RenderSettings, SceneRequest, Seam

DEFAULT_SECONDS = Fraction(20)
DEFAULT_SEED = 7
NO_TAGS: tuple[str, ...] = ()
NO_FLAGS: dict[str, Any] = {}
NO_LORAS: tuple[Lora, ...] = ()
Naming = Callable[[str], NamedModel]
"""Makes out which model a text means; raises `InputError`. Paths are for the caller to look at."""


def read_script(
    text: str,
    source: str,
    options: Mapping[str, Any],
    naming: Naming = as_named,
    presets: Presets = no_presets,
) -> FilmRequest:
    """The film of a YAML script; `options` (keys as in the file) take precedence over it."""
    record = yaml_record(text, source)
    if record.data.keys() & CAMPAIGN_ONLY_KEYS:
        raise CampaignFileError(
            source, None, f"this is a campaign of many films; use `longreel submit {source}`"
        )
    record.allow(FILM_KEYS)
    merged = record.data | {key_of(k): v for k, v in options.items() if v is not None}
    return read_film(Record(merged, source, record.line, record.lines), naming, presets)


def film_from_prompt(
    prompt: str,
    options: Mapping[str, Any],
    naming: Naming = as_named,
    presets: Presets = no_presets,
) -> FilmRequest:
    """The film of a prompt given on the command line, with `options` as in a file's keys."""
    data = {"prompt": prompt} | {k: v for k, v in options.items() if v is not None}
    return read_film(Record(data, "", None), naming, presets)


def read_film(
    record: Record, naming: Naming = as_named, presets: Presets = no_presets
) -> FilmRequest:
    """One film from its keys, its preset and defaults filled in. Raises `CampaignFileError`."""
    record.allow(FILM_KEYS)
    record = with_preset(record, presets)
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
        title=record.get("title", read_title, "") or one_line(title_of(first)),
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
            flags=spec.flags.replace(**record.get("flags", read_flags, NO_FLAGS)),
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


def _scenes(record: Record) -> tuple[SceneRequest, ...]:
    scenes = []
    for item in items_of(record, "scenes"):
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
