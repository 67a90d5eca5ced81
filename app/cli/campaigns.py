"""`longreel pause`, `resume` and `priority`: dispatching a campaign."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.output import SHOWN, print_json, print_line, print_table, reporting_errors
from app.cli.units import age
from film.errors import InputError
from film.types import counted

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from db.films.campaigns import CampaignRow

CampaignId = Annotated[str, typer.Argument(help="Id of a campaign.", metavar="ID")]


def campaigns(
    limit: Annotated[
        int | None,
        typer.Option("-n", help=f"Number of campaigns to list. [{SHOWN}; all with --json]", min=1),
    ] = None,
    json: options.Json = False,
) -> None:
    """List the campaigns, newest first.

    Example: longreel campaigns
    """
    from rich.markup import escape

    from db.films import campaigns as rows_of
    from db.films import listing
    from flows.farm import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        rows = rows_of.newest(connection, limit or (None if json else SHOWN))
        counts = listing.campaign_films(connection, [row.id for row in rows])
    if json:
        print_json([{"id": row.id, **campaign_data(row), "films": counts[row.id]} for row in rows])
        return
    if not rows:
        print_line("No campaigns yet. Submit one with: longreel submit FILE")
        return
    print_table(
        ("id", "state", "films", "delivered", "failed", "priority", "age", "name"),
        [
            [
                row.id,
                describe_dispatch(row)[0],
                str(counts[row.id].total),
                str(counts[row.id].delivered),
                str(counts[row.id].failed or ""),
                str(row.priority),
                age(time.time() - row.created_at),
                escape(row.name),
            ]
            for row in rows
        ],
        right="films delivered failed priority age",
        cut="name",
    )


def pause(campaign: CampaignId, json: options.Json = False) -> None:
    """Hold a campaign: workers finish what they render now and take no more of it.

    Example: longreel pause k3f9x2
    """
    from db.films import campaigns

    _change(campaign, campaigns.pause, json)


def resume(campaign: CampaignId, json: options.Json = False) -> None:
    """Continue a paused campaign.

    Example: longreel resume k3f9x2
    """
    from db.films import campaigns

    _change(campaign, campaigns.resume, json)


def priority(
    campaign: CampaignId,
    number: Annotated[
        str, typer.Argument(help="Whole number; higher is rendered sooner.", metavar="NUMBER")
    ],
    json: options.Json = False,
) -> None:
    """Change the priority of a campaign, starting with the next segment.

    A negative number goes after two dashes: longreel priority k3f9x2 -- -5

    Example: longreel priority k3f9x2 10
    """
    from db.films import campaigns
    from film.reading.values import read_integer

    with reporting_errors():
        try:
            wanted = read_integer(number)
        except ValueError as error:
            raise InputError(f"The priority cannot be used: {error}.") from None

    def change(connection: Connection, campaign_id: str) -> bool:
        campaigns.set_priority(connection, campaign_id, wanted)
        return True

    _change(campaign, change, json)


def _change(name: str, change: Callable[[Connection, str], bool], json: bool) -> None:
    from db.films import campaigns
    from flows.farm import open_farm

    with reporting_errors(), open_farm().database.write() as connection:
        row = campaigns.of(connection, name)
        _require_whole(connection, name, row)
        changed = change(connection, row.id)
        row = campaigns.of(connection, row.id)
    if json:
        print_json({"id": row.id, **campaign_data(row), "changed": changed})
    else:
        print_line(f"{row.id}  {', '.join(describe_dispatch(row))}")


def _require_whole(connection: Connection, name: str, row: CampaignRow) -> None:
    """Raises `InputError` if `name` is one film of several."""
    from db.films import campaigns

    if name != row.id and len(campaigns.resolve(connection, row.id)) > 1:
        raise InputError(f"{name} is one film of the campaign {row.id}; give the campaign's id.")


def describe_dispatch(row: CampaignRow) -> list[str]:
    """How a campaign is dispatched, in short texts."""
    state = "paused" if row.paused_at else "active" if row.active else "finished"
    texts = [state, f"priority {row.priority}"]
    if row.deadline is not None:
        texts.append(f"deadline {options.local_time(row.deadline)}")
    if row.max_workers is not None:
        texts.append(f"at most {counted(row.max_workers, 'segment')} at a time")
    return texts


def campaign_data(row: CampaignRow) -> dict[str, object]:
    """How a campaign is dispatched, for `--json`."""
    return {
        "name": row.name,
        "priority": row.priority,
        "deadline": row.deadline,
        "max_workers": row.max_workers,
        "paused": row.paused_at is not None,
        "active": row.active,
    }
