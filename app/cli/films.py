"""`longreel ls` and `show`: films and campaigns, with their progress."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.campaigns import campaign_data, describe_dispatch
from app.cli.farm_access import acting
from app.cli.output import (
    SHOWN,
    coloured,
    print_json,
    print_line,
    print_table,
    reporting_errors,
    say,
)
from app.cli.time_options import Since, Until, between
from app.cli.units import age, duration, length, size, timecode
from app.statuses import read_statuses
from film.flags import words
from film.types import FilmSound, FilmStatus, SeamReport, Segment, SegmentStatus, counted

if TYPE_CHECKING:
    from app.actions.values import CampaignDetails, FilmDetails
    from db.films.listing import FilmRow
    from db.segments.progress import SegmentRow

NAMED = 3
"""Films that a reason names; of more, it says how many."""

Limit = Annotated[
    int | None,
    typer.Option("-n", help=f"Number of films to list. [{SHOWN}; all with --json]", min=1),
]


def ls(
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="Comma-separated statuses of the films to list. [all]"),
    ] = None,
    since: Since = None,
    until: Until = None,
    text: Annotated[
        str,
        typer.Option("--find", metavar="TEXT", help="Part of a title, or of a campaign's name."),
    ] = "",
    limit: Limit = None,
    json: options.Json = False,
) -> None:
    """List the films, newest campaign first.

    Example: longreel ls --status failed,waiting --find autumn --since 7d
    """
    most = limit or (None if json else SHOWN)
    with reporting_errors():
        statuses = read_statuses(status or "")
        times = between(since, until)
        with acting() as farm:
            rows = farm.find_films(
                statuses=statuses, text=text, since=times[0], until=times[1], limit=most
            )
    if json:
        print_json(rows)
    elif not rows and (statuses or text or since or until):
        print_line("No film is like that; `longreel ls` lists all of them.")
    elif not rows:
        print_line('No films yet. Start with: longreel render "A red ball rolls over the grass."')
    else:
        _print_rows(rows)
        if limit is None and len(rows) == SHOWN:
            say(f"The newest {SHOWN} films; -n NUMBER lists more.")


def show(film_or_campaign: options.Id, limit: Limit = None, json: options.Json = False) -> None:
    """Show a film with its segments, or a campaign with its progress and films.

    Example: longreel show k3f9x2-1
    """
    from app.actions.values import CampaignDetails

    with reporting_errors(), acting() as farm:
        found = farm.show(film_or_campaign, limit or (None if json else SHOWN))
    if isinstance(found, CampaignDetails):
        _show_campaign(found, json)
    elif json:
        print_json(_film_data(found))
    else:
        _show_film(found)


def _show_campaign(found: CampaignDetails, json: bool) -> None:
    campaign, tally, rows, blocked = found.campaign, found.tally, found.films, found.blocked
    if json:
        counts = {"film_counts": tally.films, "segment_counts": tally.segments}
        data = {"id": campaign.id, **campaign_data(campaign), **counts}
        used = {"used_seconds": found.used_seconds}
        print_json({**data, **used, "blocked": blocked, "films": rows})
        return
    count = sum(tally.films.values())
    print_line(f"{campaign.name}: {', '.join(describe_dispatch(campaign))}")
    print_line(f"{counted(count, 'film')}: {_counts(tally.films)}")
    segments = sum(tally.segments.values())
    print_line(f"{counted(segments, 'segment')}: {_counts(tally.segments)}")
    if found.used_seconds or campaign.budget_seconds is not None:
        of = f" of {duration(campaign.budget_seconds)}" if campaign.budget_seconds else ""
        print_line(f"GPU time used: {duration(found.used_seconds)}{of}")
    if tally.seconds_left is not None:
        print_line(f"About {duration(tally.seconds_left)} left at the present pace")
    for line in _not_said(blocked, rows):
        print_line(line)
    print_line()
    _print_rows(rows)
    if len(rows) < count:
        say(f"The first {len(rows)} of {count} films; -n NUMBER lists more.")


def _counts(by_status: dict[Any, int]) -> str:
    """`3 done, 1 ready`, in the order in which work goes through the statuses."""
    order = [status for kind in (FilmStatus, SegmentStatus) for status in kind]
    return ", ".join(f"{by_status[s]} {s}" for s in sorted(by_status, key=order.index))


def _seams(seams: tuple[SeamReport, ...], fps: float) -> str:
    """The seams of a film in one line: their medians, and the worst."""
    from statistics import median

    worst = max(seams, key=lambda seam: (seam.motion_jump, seam.colour_shift))
    return (
        f"Seams: {len(seams)}; jump {median(s.motion_jump for s in seams):.1f}× normal motion, "
        f"worst {worst.motion_jump:.1f}× at {timecode(worst.frame / fps)}; colour shift "
        f"{median(s.colour_shift for s in seams):.1f} of 255, sharpness "
        f"{median(s.sharpness_change for s in seams):.2f}×"
    )


def _sound(sound: FilmSound) -> str:
    """`Sound: stereo, 48 kHz, -16.0 LUFS, peaks at -2.1 dBTP`."""
    if sound.loudness is None or sound.true_peak is None:
        measured = "silent, or too short to measure"
    else:
        measured = f"{sound.loudness:.1f} LUFS, peaks at {sound.true_peak:.1f} dBTP"
    return f"Sound: stereo, {sound.sample_rate / 1000:g} kHz, {measured}"


def _show_film(film: FilmDetails) -> None:
    from rich.markup import escape

    row, plan, parts, blocked = film.row, film.plan, film.parts, film.blocked
    _print_rows([row])
    print_line(
        f"\n{plan.width}x{plan.height} at {plan.fps} fps, {plan.model} (weights {plan.revision}), "
        f"seed {film.request.settings.seed}"
    )
    flags = words(film.request.settings.flags)
    for line in (
        *([f"Flags: {flags}"] if flags else []),
        *(f"LoRA: {lora}" for lora in plan.loras),
        *(f"Note: {notice}" for notice in plan.notices),
        *_not_said(blocked, [row]),
    ):
        print_line(line)
    if row.error:
        print_line(f"Error: {row.error}")
    if film.delivery:
        film_size = f"{size(film.delivery.size_bytes)}, {length(row.seconds)}"
        print_line(f"Film: {film_size}; `longreel download {row.id}` fetches it")
        if film.delivery.sound:
            print_line(_sound(film.delivery.sound))
        if film.delivery.seams:
            print_line(_seams(film.delivery.seams, float(plan.fps)))
    print_line()
    print_table(
        ["segment", "scene", "frames", "status", "attempt", "prompt"],
        [
            [
                str(part.position + 1),
                str(segment.scene + 1),
                "anchor" if segment.is_anchor else str(segment.keep_frames),
                _segment_status(part, segment),
                str(part.attempt),
                escape(plan.scenes[segment.scene].prompt),
            ]
            for part, segment in zip(parts, plan.segments, strict=True)
        ],
        right="segment scene frames attempt",
        cut="prompt",
    )


def _segment_status(part: SegmentRow, segment: Segment) -> str:
    """Its status, and what it waits for."""
    if part.status is SegmentStatus.WAITING and segment.continues is not None:
        return f"waits for {segment.continues + 1}"
    return part.status + (" (before)" if part.reused else "")


def _print_rows(rows: Sequence[FilmRow]) -> None:
    from rich.markup import escape

    print_table(
        ["id", "status", "done", "left", "segments", "seconds", "age", "title"],
        [
            [
                row.id,
                coloured(row.status),
                f"{row.progress:.0%}",
                "" if row.seconds_left is None else duration(row.seconds_left),
                f"{row.done}/{row.segments}",
                f"{row.seconds:g}",
                age(time.time() - row.created_at),
                escape(row.title),
            ]
            for row in rows
        ],
        right="done left segments seconds age",
        cut="title",
    )
    _print_reasons(rows)


def _not_said(blocked: Sequence[str], rows: Sequence[FilmRow]) -> list[str]:
    """Those of the sentences that are not the reasons of listed films, which follow the list."""
    reasons = {f"{row.waiting}." for row in rows}
    return [line for line in blocked if line not in reasons]


def _print_reasons(rows: Sequence[FilmRow]) -> None:
    """Why films do not move: a line for each reason, with the films that it holds for."""
    of: dict[str, list[str]] = {}
    for row in rows:
        if row.waiting:
            of.setdefault(row.waiting, []).append(row.id)
    if of:
        print_line()
    for reason, ids in of.items():
        more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
        print_line(f"{', '.join(ids[:NAMED])}{more}: {reason}.")


def _film_data(film: FilmDetails) -> dict[str, Any]:
    from film.types import to_json

    data: dict[str, Any] = to_json(film.row)
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
            "waits_for": segment.continues if part.status is SegmentStatus.WAITING else None,
            "made_by": film.made_by.get(part.position),
        }
        for part, segment in zip(film.parts, film.plan.segments, strict=True)
    ]
    return {**data, "blocked": film.blocked}
