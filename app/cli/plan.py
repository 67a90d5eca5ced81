"""`longreel plan`, and how plans are printed: scenes, segments, frames."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from app.cli import options
from app.cli.campaign_files import read_films
from app.cli.film_options import PromptOrFile, with_film_options
from app.cli.output import print_json, print_line, reporting_errors, say
from app.plan_data import count_rendered, plan_data
from film.errors import DatabaseError
from film.flags import words
from film.types import Campaign, FilmRequest, Plan, Segment, counted

if TYPE_CHECKING:
    from flows.farm import Farm


@with_film_options
def plan(
    prompt_or_file: PromptOrFile,
    chosen: dict[str, Any],
    json: options.Json = False,
) -> None:
    """Print how a film, or each film of a campaign, would be rendered. Writes nothing.

    Example: longreel plan "A red ball rolls. A blue square grows." --seconds 12
    """
    from flows.farm import open_farm

    with reporting_errors():
        print_plans(open_farm(create=False), read_films(prompt_or_file, chosen), json)


def print_plans(farm: Farm, campaign: Campaign, json: bool) -> None:
    """Prints the plan of every film. Raises `InputError` if one cannot be rendered."""
    from flows.submission.submit import plans

    planned = list(plans(farm, campaign))
    addresses = {segment.address for _, film in planned for segment in film.segments}
    before = rendered_before(farm, addresses)
    if json:
        print_json([plan_data(request, film, before) for request, film in planned])
        return
    for request, film in planned:
        _print_plan(request, film)
    frames = sum(film.num_frames for _, film in planned)
    segments = sum(len(film.segments) for _, film in planned)
    seconds = sum(film.seconds for _, film in planned)
    same = segments - len(addresses)
    done = sum(count_rendered(film, before) for _, film in planned)
    notes = [f"{same} the same as others"] * bool(same) + [f"{done} rendered before"] * bool(done)
    said = f" ({', '.join(notes)})" if notes else ""
    print_line(
        f"{counted(len(planned), 'film')}, {counted(segments, 'segment')}"
        f"{said}, {counted(frames, 'frame')}, {seconds:g} s"
    )


def rendered_before(farm: Farm, addresses: Collection[str]) -> set[str]:
    """Those of the segments' addresses that have a take; none if the database does not say."""
    from db.films.films import BATCH, batched
    from db.segments import takes

    if farm.is_new:
        return set()
    found: set[str] = set()
    try:
        with farm.database.read() as connection:
            for some in batched(sorted(addresses), BATCH):
                found |= takes.rendered(connection, some)
    except DatabaseError as error:
        say(f"What was rendered before is not known: {error}")
    return found


def _print_plan(request: FilmRequest, film: Plan) -> None:
    print_line(
        f"{request.title}: {film.num_frames} frames ({film.seconds:g} s) of "
        f"{film.width}x{film.height} at {film.fps} fps, {film.model}"
        f"{', with sound' if film.sound else ''}"
    )
    if flags := words(request.settings.flags):
        print_line(f"  flags: {flags}")
    for lora in film.loras:
        print_line(f"  LoRA: {lora}")
    for notice in film.notices:
        print_line(f"  Note: {notice}")
    for scene in film.scenes:
        print_line(
            f"  scene {scene.index + 1}  {scene.num_frames} frames, {scene.seam}, "
            f"seed {scene.seed}: {scene.prompt}"
        )
        for segment in (s for s in film.segments if s.scene == scene.index):
            print_line(
                f"    segment {segment.index + 1}  renders {segment.num_frames} frames, "
                f"{_given(segment)}"
            )


def _given(segment: Segment) -> str:
    """The frames that a segment adds to the film, and the segment that it waits for."""
    after = "" if segment.continues is None else f", after segment {segment.continues + 1}"
    if segment.is_anchor:
        ends = segment.index + 2, segment.index + len(segment.keyframes)
        return f"gives none: the keyframes of segments {ends[0]} to {ends[1]}{after}"
    if segment.keyframe is not None:
        ends = segment.keyframe + 1, segment.keyframe + 2
        after = f", from keyframe {ends[0]} to {ends[1]}{after}"
    return f"gives {segment.keep_frames}{after}"
