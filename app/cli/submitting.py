"""`longreel submit` and `longreel plan`: campaigns in, or what would become of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.film_options import PromptOrFile, request_of, with_film_options
from app.cli.log_options import with_log_options
from app.cli.output import DONE, INTERRUPTED, code_of, print_json, reporting_errors, say
from film.errors import InputError
from film.flags import words
from film.types import Campaign, FilmRequest, Plan, Segment, counted

if TYPE_CHECKING:
    from flows.farm import Farm

_ENDINGS = {".yaml", ".yml", ".jsonl", ".csv"}


@with_log_options()
def submit(
    campaign: Annotated[Path, typer.Argument(help="A campaign: .yaml, .jsonl or .csv.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and write nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the films to their end.")] = False,
    priority: options.Priority = None,
    deadline: options.Deadline = None,
    max_workers: options.MaxWorkers = None,
    tags: options.Tags = None,
    json: options.Json = False,
) -> None:
    """Submit a campaign of many films; workers render it.

    Example: longreel submit autumn.yaml --dry-run
    """
    from db.films import listing
    from film.reading.campaign import with_wishes
    from flows.farm import open_farm

    wishes = {
        "priority": priority,
        "deadline": deadline,
        "max_workers": max_workers,
        "tags": tags,
    }
    with reporting_errors() as command:
        read = with_wishes(_read(campaign), wishes)
        farm = open_farm(create=False)
        if dry_run:
            _print_plans(farm, read, json)
            return
        from flows.submission.submit import submit as submit_campaign

        ids = submit_campaign(farm, read)
        command.started = True
        campaign_id = ids[0].rpartition("-")[0]
        say(f"{read.name}: {counted(len(ids), 'film')} submitted")
        if wait:
            _wait(farm, campaign_id)
        with farm.database.read() as connection:
            rows = listing.films_of(connection, campaign_id)
    if json:
        print_json({"campaign": campaign_id, "name": read.name, "films": rows})
    elif not wait:
        typer.echo(campaign_id)
        say(
            f"`longreel worker` renders them, `longreel show {campaign_id}` tells how far they are."
        )
    raise typer.Exit(code_of([row.status for row in rows]) if wait else DONE)


@with_film_options
def plan(
    prompt_or_file: PromptOrFile,
    chosen: dict[str, Any],
    json: options.Json = False,
) -> None:
    """Print how a film would be rendered: scenes, segments, frames; write nothing.

    Example: longreel plan "A red ball rolls. A blue square grows." --seconds 12
    """
    from flows.farm import open_farm

    with reporting_errors():
        request = request_of(prompt_or_file, chosen)
        _print_plans(open_farm(create=False), Campaign(name="plan", films=(request,)), json)


def _read(path: Path) -> Campaign:

    from film.reading.campaign import read_campaign
    from flows.model_catalog.resolve_name import naming
    from flows.submission import image_uploads, lora_uploads

    if path.suffix not in _ENDINGS:
        raise InputError(f"{path} is no campaign: it should end in .yaml, .jsonl or .csv.")
    text = options.read_file(path)
    campaign = read_campaign(text, str(path), path.stem, naming(path.parent))
    films = image_uploads.located(campaign.films, path.parent)
    return campaign.replace(films=lora_uploads.located(films, path.parent))


def _wait(farm: Farm, campaign_id: str) -> None:
    from app.cli.film_progress import follow

    say("Waiting for workers (`longreel worker`) to render it. Ctrl-C stops the waiting only.")
    try:
        follow(farm, campaign_id, lambda: None)
    except KeyboardInterrupt:
        say("\nNot followed any longer; the films go on.")
        raise typer.Exit(INTERRUPTED) from None


def _print_plans(farm: Farm, campaign: Campaign, json: bool) -> None:
    from flows.submission.submit import plans

    planned = list(plans(farm, campaign))
    if json:
        print_json([_plan_data(request, film) for request, film in planned])
        return
    for request, film in planned:
        _print_plan(request, film)
    frames = sum(film.num_frames for _, film in planned)
    segments = sum(len(film.segments) for _, film in planned)
    seconds = sum(film.seconds for _, film in planned)
    typer.echo(
        f"{counted(len(planned), 'film')}, {counted(segments, 'segment')}, "
        f"{counted(frames, 'frame')}, {seconds:g} s"
    )


def _print_plan(request: FilmRequest, film: Plan) -> None:
    typer.echo(
        f"{request.title}: {film.num_frames} frames ({film.seconds:g} s) of "
        f"{film.width}x{film.height} at {film.fps} fps, {film.model}"
        f"{', with sound' if film.sound else ''}"
    )
    if flags := words(request.settings.flags):
        typer.echo(f"  flags: {flags}")
    for lora in film.loras:
        typer.echo(f"  LoRA: {lora}")
    for notice in film.notices:
        typer.echo(f"  Note: {notice}")
    for scene in film.scenes:
        typer.echo(
            f"  scene {scene.index + 1}  {scene.num_frames} frames, {scene.seam}, "
            f"seed {scene.seed}: {scene.prompt}"
        )
        for segment in (s for s in film.segments if s.scene == scene.index):
            typer.echo(
                f"    segment {segment.index + 1}  renders {segment.num_frames} frames, "
                f"{_given(segment)}"
            )


def _given(segment: Segment) -> str:
    """What a segment gives to the film, and what it waits for."""
    after = "" if segment.continues is None else f", after segment {segment.continues + 1}"
    if segment.is_anchor:
        ends = segment.index + 2, segment.index + len(segment.keyframes)
        return f"gives none: the keyframes of segments {ends[0]} to {ends[1]}{after}"
    if segment.keyframe is not None:
        ends = segment.keyframe + 1, segment.keyframe + 2
        after = f", from keyframe {ends[0]} to {ends[1]}{after}"
    return f"gives {segment.keep_frames}{after}"


def _plan_data(request: FilmRequest, film: Plan) -> dict[str, Any]:
    return {
        "title": request.title,
        "model": film.model,
        "revision": film.revision,
        "loras": film.loras,
        "width": film.width,
        "height": film.height,
        "fps": film.fps,
        "sound": film.sound,
        "frames": film.num_frames,
        "seconds": film.seconds,
        "scenes": film.scenes,
        "segments": [
            {
                "index": segment.index,
                "scene": segment.scene,
                "prompt": segment.prompt,
                "num_frames": segment.num_frames,
                "overlap_frames": segment.overlap_frames,
                "keep_frames": segment.keep_frames,
                "keyframes": segment.keyframes,
                "keyframe": segment.keyframe,
                "depends_on": [] if segment.continues is None else [segment.continues],
                "seed": segment.seed,
                "address": segment.address,
            }
            for segment in film.segments
        ],
        "notices": film.notices,
    }
