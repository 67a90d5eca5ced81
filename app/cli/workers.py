"""`longreel workers`, and `longreel worker drain|stop|resume`: listing and commanding workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.farm_access import acting
from app.cli.output import print_json, print_line, print_table, reporting_errors, say
from app.cli.units import age

if TYPE_CHECKING:
    from app.actions.values import WorkerOrder
    from db.workers.registry import WorkerRow

Name = Annotated[str, typer.Argument(help="Name of a worker, as `longreel workers` lists it.")]

COLUMNS = (
    *("name", "state", "device", "rendering", "step", "done", "per hour", "failures"),
    *("seen", "quiet", "tags", "warm"),
)
MARKS = {
    "rendering": "cyan",
    "loading": "cyan",
    "draining": "yellow",
    "drained": "yellow",
    "stopped": "yellow",
    "lost": "red",
    "died": "red",
    "ended": "dim",
}


def workers(json: options.Json = False) -> None:
    """List the workers: their state, their model, their speed.

    Example: longreel workers --json | jq '.[] | select(.state == "lost") | .name'
    """
    with reporting_errors(), acting() as farm:
        rows = farm.workers()
    if json:
        print_json([_data(row) for row in rows])
    elif not rows:
        print_line("No workers. Start one with: longreel worker")
    else:
        print_table(
            COLUMNS,
            [_cells(row) for row in rows],
            right="step done failures seen",
        )
        for row in rows:
            if row.error:
                print_line(f"\n{row.name}: {row.error}")


def drain(name: Name) -> None:
    """Let a worker finish its segments and take no more until it is resumed."""
    row = _order(name, "drain")
    rest = f" after {_segment(row)}" if row.film_id else ""
    say(f"{name} takes no new work{rest}; `longreel worker resume {name}` undoes that.")


def stop(name: Name) -> None:
    """Make a worker give back its segments at once and take none until it is resumed."""
    row = _order(name, "stop")
    rest = f"gives back {_segment(row)} and " if row.film_id else ""
    say(f"{name} {rest}takes no new work; `longreel worker resume {name}` undoes that.")


def resume(name: Name) -> None:
    """Let a worker continue that was drained or stopped, or drained itself."""
    _order(name, "resume")
    say(f"{name} continues.")


def _segment(row: WorkerRow) -> str:
    """The segment that it renders, counted from 1."""
    return "" if row.position is None else f"{row.film_id} segment {row.position + 1}"


def _order(name: str, command: WorkerOrder) -> WorkerRow:
    with reporting_errors(), acting() as farm:
        return farm.order(name, command)


def _data(row: WorkerRow) -> dict[str, Any]:
    from film.types import to_json

    data: dict[str, Any] = to_json(row, order=None)
    data["segments_per_hour"] = row.segments_per_hour
    return data


def _cells(row: WorkerRow) -> list[str]:
    from rich.markup import escape

    mark = MARKS.get(row.state)
    rate = row.segments_per_hour
    return [
        escape(row.name),
        f"[{mark}]{row.state}[/]" if mark else row.state.value,
        row.device,
        _segment(row),
        f"{row.step}/{row.steps}" if row.step else "",
        str(row.segments_done),
        "" if rate is None else f"{rate:.0f}",
        str(row.failures),
        age(row.seen_seconds_ago),
        row.quiet or "",
        escape(",".join(row.tags)),
        row.warm or "",
    ]
