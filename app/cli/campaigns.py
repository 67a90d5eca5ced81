"""`longreel campaigns`, `pause`, `resume`, `priority`, `deadline`, `max-workers` and `budget`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.cli import options
from app.cli.farm_access import acting
from app.cli.output import SHOWN, print_json, print_line, print_table, reporting_errors
from app.cli.time_options import Since, Until, between
from app.cli.units import age, duration
from film.errors import InputError
from film.types import counted

if TYPE_CHECKING:
    from app.actions.values import CampaignSummary
    from db.films.campaigns import CampaignRow

T = TypeVar("T")
NONE = "none"
"""What users write for no deadline or no limit."""
CampaignId = Annotated[str, typer.Argument(help="Id of a campaign.", metavar="ID")]


def campaigns(
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None,
        typer.Option("-n", help=f"Number of campaigns to list. [{SHOWN}; all with --json]", min=1),
    ] = None,
    json: options.Json = False,
) -> None:
    """List the campaigns, newest first.

    Example: longreel campaigns --since 7d
    """
    most = limit or (None if json else SHOWN)
    with reporting_errors(), acting() as farm:
        found = farm.campaigns(most, *between(since, until))
    if json:
        print_json([_listed(each) for each in found])
    elif not found and (since or until):
        print_line("No campaign is of that time; `longreel campaigns` lists all of them.")
    elif not found:
        print_line("No campaigns yet. Submit one with: longreel submit FILE")
    else:
        print_table(
            ("id", "state", "films", "delivered", "failed", "priority", "age", "name"),
            [_cells(each) for each in found],
            right="films delivered failed priority age",
            cut="name",
        )


def _listed(found: CampaignSummary) -> dict[str, object]:
    row = found.campaign
    return {"id": row.id, **campaign_data(row), "films": found.films}


def _cells(found: CampaignSummary) -> list[str]:
    from rich.markup import escape

    row, films = found.campaign, found.films
    return [
        row.id,
        describe_dispatch(row)[0],
        str(films.total),
        str(films.delivered),
        str(films.failed or ""),
        str(row.priority),
        age(time.time() - row.created_at),
        escape(row.name),
    ]


def pause(campaign: CampaignId, json: options.Json = False) -> None:
    """Hold a campaign: workers finish what they render now and take no more of it.

    Example: longreel pause k3f9x2
    """
    _change(campaign, {"paused": True}, json)


def resume(campaign: CampaignId, json: options.Json = False) -> None:
    """Continue a paused campaign.

    Example: longreel resume k3f9x2
    """
    _change(campaign, {"paused": False}, json)


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
    from film.reading.values import read_integer

    with reporting_errors():
        wanted = _read("priority", read_integer, number)
    _change(campaign, {"priority": wanted}, json)


def deadline(
    campaign: CampaignId,
    time: Annotated[
        str, typer.Argument(help='As "2026-11-30 18:00"; none removes it.', metavar="TIME")
    ],
    json: options.Json = False,
) -> None:
    """Change the deadline of a campaign: among equal priorities the nearest is rendered first.

    Example: longreel deadline k3f9x2 "2026-11-30 18:00"
    """
    from film.reading.values import read_deadline

    with reporting_errors():
        wanted = None if time == NONE else _read("deadline", read_deadline, time)
    _change(campaign, {"deadline": wanted}, json)


def max_workers(
    campaign: CampaignId,
    number: Annotated[
        str, typer.Argument(help="1 or more; none removes the limit.", metavar="NUMBER")
    ],
    json: options.Json = False,
) -> None:
    """Change how many segments of a campaign are rendered at the same time at most.

    Example: longreel max-workers k3f9x2 4
    """
    from film.reading.values import read_workers

    with reporting_errors():
        wanted = None if number == NONE else _read("number of workers", read_workers, number)
    _change(campaign, {"max_workers": wanted}, json)


def budget(
    campaign: CampaignId,
    time: Annotated[
        str, typer.Argument(help="GPU time such as 90min or 10h; none removes it.", metavar="TIME")
    ],
    over: Annotated[
        str | None,
        typer.Option(
            "--over",
            metavar="ACTION",
            help="What happens when it is used: warn, stop or cancel. [as it is, else stop]",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Change the GPU time that a campaign may use in all, what it used already included.

    Example: longreel budget k3f9x2 10h --over cancel
    """
    from film.reading.values import read_gpu_time, read_over_budget

    with reporting_errors():
        wanted: dict[str, Any] = {
            "budget_seconds": None if time == NONE else _read("budget", read_gpu_time, time)
        }
        if over is not None:
            wanted["over_budget"] = _read("action", read_over_budget, over)
    _change(campaign, wanted, json)


def _read(what: str, read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise InputError(f"The {what} cannot be used: {error}.") from None


def _change(name: str, wanted: Mapping[str, Any], json: bool) -> None:
    from app.actions.values import Steering

    with reporting_errors(), acting() as farm:
        found = farm.campaign_of(name)
        row = found.campaign
        if name != row.id and found.films.total > 1:
            raise InputError(
                f"{name} is one film of the campaign {row.id}; give the campaign's id."
            )
        steered = farm.steer(row.id, Steering(**wanted))
    row = steered.campaign
    if json:
        print_json({"id": row.id, **campaign_data(row), "changed": steered.changed})
    else:
        print_line(f"{row.id}  {', '.join(describe_dispatch(row))}")


def describe_dispatch(row: CampaignRow) -> list[str]:
    """How a campaign is dispatched, in short texts."""
    going = f"held by its {row.held}" if row.held else "active"
    state = "paused" if row.paused_at else going if row.active else "finished"
    texts = [state, f"priority {row.priority}"]
    if row.deadline is not None:
        texts.append(f"deadline {options.local_time(row.deadline)}")
    if row.max_workers is not None:
        texts.append(f"at most {counted(row.max_workers, 'segment')} at a time")
    if row.budget_seconds is not None:
        texts.append(f"budget {duration(row.budget_seconds)} of GPU time")
    return texts


def campaign_data(row: CampaignRow) -> dict[str, object]:
    """How a campaign is dispatched, for `--json`."""
    return {
        "name": row.name,
        "priority": row.priority,
        "deadline": row.deadline,
        "max_workers": row.max_workers,
        "budget_seconds": row.budget_seconds,
        "over_budget": row.over_budget,
        "held": row.held,
        "key": row.key_id,
        "paused": row.paused_at is not None,
        "active": row.active,
    }
