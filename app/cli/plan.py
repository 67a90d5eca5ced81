"""`longreel plan`, and how plans are printed: scenes, segments, frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.cli import options
from app.cli.campaign_files import read_films
from app.cli.farm_access import acting
from app.cli.film_options import FilmsOrPrompt, with_film_options
from app.cli.output import print_json, print_line, reporting_errors, say
from film.types import Campaign, Lora, counted, from_json

if TYPE_CHECKING:
    from app.actions.protocol import Actions

Plan = Mapping[str, Any]
"""A plan as `--json` prints it."""


@with_film_options
def plan(
    prompt_or_file: FilmsOrPrompt,
    chosen: dict[str, Any],
    json: options.Json = False,
) -> None:
    """Print how a film, or each film of a campaign, would be rendered. Writes nothing.

    Example: longreel plan "A red ball rolls. A blue square grows." --seconds 12
    """
    with reporting_errors():
        campaign = read_films(prompt_or_file, chosen)
        with acting(create=False) as farm:
            print_plans(farm, campaign, json)


def print_plans(farm: Actions, campaign: Campaign, json: bool) -> None:
    """Prints the plan of every film. Raises `InputError` if one cannot be rendered."""
    planned = farm.plan(campaign)
    if planned.unknown:
        say(f"What was rendered before is not known: {planned.unknown}")
    if json:
        print_json(planned.plans)
        return
    for plan in planned.plans:
        _print_plan(plan)
    print_line(_summary(planned.plans))


def _summary(plans: Sequence[Plan]) -> str:
    """The films' number, segments, frames and length in one line."""
    addresses = [segment["address"] for plan in plans for segment in plan["segments"]]
    frames = sum(plan["frames"] for plan in plans)
    seconds = sum(plan["seconds"] for plan in plans)
    same = len(addresses) - len(set(addresses))
    done = sum(plan["rendered_before"] for plan in plans)
    notes = [f"{same} the same as others"] * bool(same) + [f"{done} rendered before"] * bool(done)
    said = f" ({', '.join(notes)})" if notes else ""
    return (
        f"{counted(len(plans), 'film')}, {counted(len(addresses), 'segment')}"
        f"{said}, {counted(frames, 'frame')}, {seconds:g} s"
    )


def _print_plan(plan: Plan) -> None:
    print_line(
        f"{plan['title']}: {plan['frames']} frames ({plan['seconds']:g} s) of "
        f"{plan['width']}x{plan['height']} at {plan['fps']} fps, {plan['model']}"
        f"{', with sound' if plan['sound'] else ''}"
    )
    if plan["flags"]:
        print_line(f"  flags: {plan['flags']}")
    for lora in plan["loras"]:
        print_line(f"  LoRA: {from_json(Lora, lora)}")
    for notice in plan["notices"]:
        print_line(f"  Note: {notice}")
    for scene in plan["scenes"]:
        print_line(
            f"  scene {scene['index'] + 1}  {scene['num_frames']} frames, {scene['seam']}, "
            f"seed {scene['seed']}: {scene['prompt']}"
        )
        for segment in (s for s in plan["segments"] if s["scene"] == scene["index"]):
            print_line(
                f"    segment {segment['index'] + 1}  renders {segment['num_frames']} frames, "
                f"{_given(segment)}"
            )


def _given(segment: Mapping[str, Any]) -> str:
    """The frames that a segment adds to the film, and the segment that it waits for."""
    index, before = segment["index"], segment["depends_on"]
    after = f", after segment {before[0] + 1}" if before else ""
    if segment["keyframes"]:
        ends = index + 2, index + len(segment["keyframes"])
        return f"gives none: the keyframes of segments {ends[0]} to {ends[1]}{after}"
    if segment["keyframe"] is not None:
        ends = segment["keyframe"] + 1, segment["keyframe"] + 2
        after = f", from keyframe {ends[0]} to {ends[1]}{after}"
    return f"gives {segment['keep_frames']}{after}"
