"""`longreel ls`, `show` and `logs`: what there is, how far it is, what happened to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.output import coloured, print_json, print_table, reporting_errors

if TYPE_CHECKING:
    from db.campaigns import FilmRow

Id = Annotated[str, typer.Argument(help="Id of a film, or of a campaign.", metavar="ID")]


def ls(
    limit: Annotated[
        int | None, typer.Option("-n", help="Newest films only; all where left out.", min=1)
    ] = None,
    json: options.Json = False,
) -> None:
    """List the films, newest campaign first.

    Example: longreel ls --json | jq '.[] | select(.status == "failed") | .id'
    """
    from db import campaigns
    from flows.wiring import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        rows = campaigns.listing(connection, limit=limit)
    if json:
        print_json(rows)
    elif not rows:
        typer.echo('No films yet. Begin with: longreel render "A red ball rolls over the grass."')
    else:
        _print_rows(rows)


def show(film_or_campaign: Id, json: options.Json = False) -> None:
    """Show a film with its segments, or a campaign with its films.

    Example: longreel show k3f9x2-1
    """
    from rich.markup import escape

    from db import campaigns, films, segments
    from flows.wiring import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        ids = campaigns.resolve(connection, film_or_campaign)
        rows = campaigns.listing(connection, film_or_campaign)
        if ids != [film_or_campaign]:
            _show_campaign(film_or_campaign, rows, json)
            return
        film, parts = films.get(connection, ids[0]), segments.of_film(connection, ids[0])
    if json:
        print_json(_film_data(rows[0], film, parts))
        return
    row, plan = rows[0], film.plan
    _print_rows(rows)
    typer.echo(
        f"\n{plan.width}x{plan.height} at {plan.fps} fps, {plan.model} (weights {plan.revision}), "
        f"seed {film.request.settings.seed}"
    )
    for notice in plan.notices:
        typer.echo(f"Note: {notice}")
    if row.error:
        typer.echo(f"Error: {row.error}")
    if film.delivery:
        typer.echo(f"Film: {film.delivery.size_bytes} bytes; `longreel download {row.id}` gets it")
    typer.echo()
    print_table(
        ["segment", "scene", "frames", "status", "attempt", "prompt"],
        [
            [
                str(part.position + 1),
                str(segment.scene + 1),
                str(segment.keep_frames),
                part.status + (" (before)" if part.reused else ""),
                str(part.attempt),
                escape(segment.prompt),
            ]
            for part, segment in zip(parts, plan.segments, strict=True)
        ],
        right="segment scene frames attempt",
    )


def logs(film_or_campaign: Id, json: options.Json = False) -> None:
    """Print what happened to a film, or to the films of a campaign, with every error in full.

    Example: longreel logs k3f9x2-1
    """
    from db import campaigns, events
    from flows.wiring import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        ids = campaigns.resolve(connection, film_or_campaign)
        found = [(film_id, e) for film_id in ids for e in events.of_film(connection, film_id)]
    if json:
        print_json(
            [
                {
                    "film": film_id,
                    "at": event.at,
                    "kind": event.kind,
                    "segment": event.segment,
                    "message": event.message,
                    "detail": event.detail,
                }
                for film_id, event in found
            ]
        )
        return
    for film_id, event in found:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
        typer.echo(f"{when}  {film_id}  {event.kind:<10} {event.message}")
        if event.detail:
            typer.echo("    " + event.detail.rstrip().replace("\n", "\n    "))


def _show_campaign(campaign_id: str, rows: list[FilmRow], json: bool) -> None:
    if json:
        print_json({"id": campaign_id, "name": rows[0].campaign_name, "films": rows})
        return
    delivered = sum(row.status == "delivered" for row in rows)
    typer.echo(f"{rows[0].campaign_name}: {delivered} of {len(rows)} films delivered\n")
    _print_rows(rows)


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


def _film_data(row: FilmRow, film: Any, parts: list[Any]) -> dict[str, Any]:
    from film.types import to_json

    data: dict[str, Any] = to_json(row)
    data["request"] = film.request
    data["width"], data["height"], data["fps"] = film.plan.width, film.plan.height, film.plan.fps
    data["scenes"] = film.plan.scenes
    data["notices"] = film.plan.notices
    data["delivery"] = film.delivery
    data["segment_list"] = [
        {**to_json(part), "scene": segment.scene, "frames": segment.keep_frames}
        for part, segment in zip(parts, film.plan.segments, strict=True)
    ]
    return data
