"""`longreel ls`, `show` and `events`: what there is, how far it is, what happened to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from app.cli import options
from app.cli.output import (
    INTERRUPTED,
    SHOWN,
    coloured,
    print_json,
    print_table,
    reporting_errors,
    say,
)
from app.cli.steering import campaign_data, wishes
from film.flags import words
from film.types import FilmSound, FilmStatus, SeamReport, SegmentStatus

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from db.campaigns import CampaignRow
    from db.events import Event
    from db.films import Film
    from db.kinds import Kind
    from db.listing import FilmRow, Tally
    from db.progress import SegmentRow
    from db.workers import WorkerRow

Id = Annotated[str, typer.Argument(help="Id of a film, or of a campaign.", metavar="ID")]
Limit = Annotated[
    int | None,
    typer.Option(
        "-n", help=f"That many films; {SHOWN}, or with --json all, where left out.", min=1
    ),
]
FOLLOW_SECONDS = 0.5
"""Pause between two looks for what has happened."""


def ls(limit: Limit = None, json: options.Json = False) -> None:
    """List the films, newest campaign first.

    Example: longreel ls --json | jq '.[] | select(.status == "failed") | .id'
    """
    from db import listing
    from flows.wiring import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        rows = listing.films_of(connection, limit=limit or (None if json else SHOWN))
    if json:
        print_json(rows)
    elif not rows:
        typer.echo('No films yet. Begin with: longreel render "A red ball rolls over the grass."')
    else:
        _print_rows(rows)
        if limit is None and len(rows) == SHOWN:
            say(f"The newest {SHOWN} films; -n NUMBER lists more.")


def show(film_or_campaign: Id, limit: Limit = None, json: options.Json = False) -> None:
    """Show a film with its segments, or a campaign with how far it is and its films.

    Example: longreel show k3f9x2-1
    """
    from db import campaigns, films, listing, progress, takes
    from flows.wiring import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        campaign = campaigns.of(connection, film_or_campaign)
        single = campaign.id != film_or_campaign
        shown = limit or (None if json or single else SHOWN)
        rows = listing.films_of(connection, film_or_campaign, shown)
        blocked = _blocked(connection, campaign, film_or_campaign if single else None)
        if not single:
            tally = listing.tally(connection, campaign.id)
        else:
            film = films.get(connection, film_or_campaign)
            parts = progress.of_film(connection, film_or_campaign)
            made_by = takes.made_by(connection, film_or_campaign) if json else {}
    if not single:
        _show_campaign(campaign, tally, rows, blocked, json)
    elif json:
        print_json({**_film_data(rows[0], film, parts, made_by), "blocked": blocked})
    else:
        _show_film(rows[0], film, parts, blocked)


def events(
    film_or_campaign: Id,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print what happens until the films are at their end.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Print what happened to a film, or to the films of a campaign, with every error in full.

    With --follow, --json prints one object a line.

    Example: longreel events k3f9x2-1 --follow
    """
    from db import campaigns
    from db import events as happened
    from flows.wiring import open_farm

    with reporting_errors():
        database = open_farm().database
        with database.read() as connection:
            campaign = campaigns.of(connection, film_or_campaign)
            found = happened.of(connection, campaign.id, film_or_campaign)
        if not follow:
            _print_events(found, json)
            return
        try:
            last = 0
            while True:
                for event in found:
                    _print_event(event, json)
                    last = event.id
                with database.read() as connection:
                    # Asked for before the events, so that none is left out at the end.
                    over = not campaigns.is_open(connection, film_or_campaign)
                    found = happened.of(connection, campaign.id, film_or_campaign, last)
                if over and not found:
                    return
                if not found:
                    time.sleep(FOLLOW_SECONDS)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _print_events(found: list[Event], json: bool) -> None:
    if json:
        print_json([_event_data(event) for event in found])
        return
    for event in found:
        _print_event(event, json)


def _print_event(event: Event, json: bool) -> None:
    if json:
        typer.echo(msgspec.json.encode(_event_data(event)).decode())
        return
    when = options.local_time(event.at)
    typer.echo(f"{when}  {event.film_id}  {event.kind:<10} {event.message}")
    if event.detail:
        typer.echo("    " + event.detail.rstrip().replace("\n", "\n    "))


def _event_data(event: Event) -> dict[str, Any]:
    return {
        "film": event.film_id,
        "at": event.at,
        "kind": event.kind,
        "segment": event.segment,
        "message": event.message,
        "detail": event.detail,
    }


def _blocked(connection: Connection, campaign: CampaignRow, film_id: str | None) -> list[str]:
    """Why what is left of a campaign, or of one of its films, can be rendered by no worker."""
    from db import kinds, workers

    if not campaign.active:
        return []
    wanted = kinds.still_wanted(connection, campaign.id, film_id)
    living = workers.living(connection)
    said = []
    for kind in wanted:
        if not any(_can(worker, kind) for worker in living):
            tags = f" and the tags {', '.join(kind.tags)}" if kind.tags else ""
            said.append(
                f"No living worker can render {kind.name}: it takes one with the model "
                f"{kind.model}{_weights(kind, living)}{tags}."
            )
    return said


def _weights(kind: Kind, living: list[WorkerRow]) -> str:
    """Which weights it takes, where there are workers with others of the model."""
    from shlex import quote

    from film.models import find_model

    if not kind.revision or not any(kind.model in worker.models for worker in living):
        return ""
    spec = find_model(kind.model)
    pull = f"`longreel models pull {quote(spec.name)} --revision {kind.revision} --no-pin`"
    how = "" if spec.bundled or spec.local else f" ({pull} fetches it)"
    return f" at revision {kind.revision}{how}"


def _can(worker: WorkerRow, kind: Kind) -> bool:
    from db.kinds import weights_of

    has = weights_of(kind.model, kind.revision) in worker.weights or not kind.revision
    return has and kind.model in worker.models and set(kind.tags) <= set(worker.tags)


def _show_campaign(
    campaign: CampaignRow, tally: Tally, rows: list[FilmRow], blocked: list[str], json: bool
) -> None:
    if json:
        counts = {"film_counts": tally.films, "segment_counts": tally.segments}
        data = {"id": campaign.id, **campaign_data(campaign), **counts}
        print_json({**data, "blocked": blocked, "films": rows})
        return
    count = sum(tally.films.values())
    typer.echo(f"{campaign.name}: {', '.join(wishes(campaign))}")
    typer.echo(f"{count} films: {_counts(tally.films)}")
    typer.echo(f"{sum(tally.segments.values())} segments: {_counts(tally.segments)}")
    for line in blocked:
        typer.echo(line)
    typer.echo()
    _print_rows(rows)
    if len(rows) < count:
        say(f"The first {len(rows)} of {count} films; -n NUMBER lists more.")


def _counts(by_status: dict[Any, int]) -> str:
    """`3 done, 1 ready`, in the order in which work goes through the statuses."""
    order = [status for kind in (FilmStatus, SegmentStatus) for status in kind]
    return ", ".join(f"{by_status[s]} {s}" for s in sorted(by_status, key=order.index))


def _seams(seams: tuple[SeamReport, ...]) -> str:
    """The seams of a film in one line: the usual one, and the worst."""
    from statistics import median

    worst = max(seams, key=lambda seam: (seam.motion_jump, seam.colour_shift))
    return (
        f"Seams: {len(seams)} continued; usual colour shift "
        f"{median(s.colour_shift for s in seams):.1f} of 255, sharpness "
        f"x{median(s.sharpness_change for s in seams):.2f}, motion "
        f"x{median(s.motion_jump for s in seams):.1f} of an ordinary step; worst motion "
        f"x{worst.motion_jump:.1f} at frame {worst.frame}"
    )


def _sound(sound: FilmSound) -> str:
    """`Sound: stereo, 48 kHz, -16.0 LUFS, peaks at -2.1 dBTP`."""
    if sound.loudness is None or sound.true_peak is None:
        measured = "silent or too short to be measured"
    else:
        measured = f"{sound.loudness:.1f} LUFS, peaks at {sound.true_peak:.1f} dBTP"
    return f"Sound: stereo, {sound.sample_rate / 1000:g} kHz, {measured}"


def _show_film(row: FilmRow, film: Film, parts: list[SegmentRow], blocked: list[str]) -> None:
    from rich.markup import escape

    plan = film.plan
    _print_rows([row])
    typer.echo(
        f"\n{plan.width}x{plan.height} at {plan.fps} fps, {plan.model} (weights {plan.revision}), "
        f"seed {film.request.settings.seed}"
    )
    flags = words(film.request.settings.flags)
    for line in (
        *([f"Flags: {flags}"] if flags else []),
        *(f"LoRA: {lora}" for lora in plan.loras),
        *(f"Note: {notice}" for notice in plan.notices),
        *blocked,
    ):
        typer.echo(line)
    if row.error:
        typer.echo(f"Error: {row.error}")
    if film.delivery:
        typer.echo(f"Film: {film.delivery.size_bytes} bytes; `longreel download {row.id}` gets it")
        if film.delivery.sound:
            typer.echo(_sound(film.delivery.sound))
        if film.delivery.seams:
            typer.echo(_seams(film.delivery.seams))
    typer.echo()
    print_table(
        ["segment", "scene", "frames", "status", "attempt", "prompt"],
        [
            [
                str(part.position + 1),
                str(segment.scene + 1),
                "anchor" if segment.is_anchor else str(segment.keep_frames),
                part.status + (" (before)" if part.reused else ""),
                str(part.attempt),
                escape(segment.prompt),
            ]
            for part, segment in zip(parts, plan.segments, strict=True)
        ],
        right="segment scene frames attempt",
    )


def _print_rows(rows: list[FilmRow]) -> None:
    from rich.markup import escape

    print_table(
        ["id", "status", "done", "segments", "frames", "seconds", "title"],
        [
            [
                row.id,
                coloured(row.status),
                f"{row.progress:.0%}",
                f"{row.done}/{row.segments}",
                str(row.frames),
                f"{row.seconds:g}",
                escape(row.title),
            ]
            for row in rows
        ],
        right="done segments frames seconds",
    )


def _film_data(
    row: FilmRow, film: Any, parts: list[Any], made_by: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    from film.types import to_json

    data: dict[str, Any] = to_json(row)
    data["request"] = film.request
    data["width"], data["height"], data["fps"] = film.plan.width, film.plan.height, film.plan.fps
    data["scenes"] = film.plan.scenes
    data["loras"] = film.plan.loras
    data["notices"] = film.plan.notices
    data["delivery"] = film.delivery
    data["segment_list"] = [
        {
            **to_json(part),
            "scene": segment.scene,
            "frames": segment.keep_frames,
            "anchor": segment.is_anchor,
            "made_by": made_by.get(part.position),
        }
        for part, segment in zip(parts, film.plan.segments, strict=True)
    ]
    return data
