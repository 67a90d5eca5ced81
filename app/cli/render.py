"""`longreel render`: a film on this machine, from the prompt to the file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.campaign_files import presets_here
from app.cli.film_options import PromptOrFile, request_of, with_film_options
from app.cli.log_options import with_log_options
from app.cli.output import (
    FAILED,
    INTERRUPTED,
    Command,
    print_json,
    reporting_errors,
    say,
    say_what_stays_on,
    stopped_by_signals,
)
from film.errors import InputError
from film.types import Delivery, FilmRequest, FilmStatus, counted

if TYPE_CHECKING:
    from db.films.listing import FilmRow
    from flows.farm import Farm


@with_log_options()
@with_film_options
def render(
    prompt_or_file: PromptOrFile,
    chosen: dict[str, Any],
    output: Annotated[Path, typer.Option("-o", "--output", help="The film's file.")] = Path(
        "film.mp4"
    ),
    json: options.Json = False,
) -> None:
    """Render a film on this machine and wait for it.

    Rendered segments are never rendered again: after an interruption the same command continues,
    and after a change it renders the changed scene only.

    Example: longreel render "A red ball rolls right over grass under a blue sky." -o a.mp4
    """
    with reporting_errors() as command:
        _require_writable(output)
        request = request_of(prompt_or_file, chosen, presets=presets_here)
        row, result = _render(request, output, command)
    if row.status is not FilmStatus.DELIVERED:
        say(f"longreel: The film {_ended(row)}")
        if json:
            print_json(result)
        raise typer.Exit(FAILED)
    if json:
        print_json(result)
    else:
        say(
            f"{counted(row.frames, 'frame')}, {row.seconds:g} s, {result['rendered']} of "
            f"{counted(row.segments, 'segment')} rendered now"
        )
        typer.echo(str(output))
        say_what_stays_on()


def _render(request: FilmRequest, output: Path, command: Command) -> tuple[FilmRow, dict[str, Any]]:
    """The row of the finished film, and what `--json` prints. Raises `LongreelError`."""
    from db import events
    from db.films import films, listing
    from flows.farm import open_farm
    from flows.prefect_runs import prefect_server
    from flows.submission.submit import submit_once

    clock = _Clock()
    farm = open_farm(create=False)
    prefect_server.require(farm.settings)
    try:
        film_id = submit_once(farm, request)
        with farm.database.read() as connection:
            before = listing.films_of(connection, film_id)[0]
            rendered_before = events.count(connection, film_id, "rendered")
            notices = films.get(connection, film_id).plan.notices
        command.started = True
        for notice in notices:
            say(f"Note: {notice}")
        if before.status is FilmStatus.DELIVERED:
            row = before
            delivery = _write(farm, film_id, output)
        else:
            row, delivery = _work(farm, film_id, request.tags, output, clock)
        with farm.database.read() as connection:
            rendered = events.count(connection, film_id, "rendered") - rendered_before
    finally:
        farm.close()
    return row, {
        "id": row.id,
        "campaign": row.campaign,
        "status": row.status,
        "progress": row.progress,
        "frames": row.frames,
        "seconds": row.seconds,
        "segments": row.segments,
        "rendered": rendered,
        "output": str(output) if delivery else None,
        "sha256": delivery.sha256 if delivery else None,
        "notices": notices,
        "error": row.error,
        "timings": clock.timings(),
    }


def _ended(row: FilmRow) -> str:
    if row.status is FilmStatus.FAILED:
        return (
            f"failed. {row.error} (`longreel events {row.id}` has it all; "
            f"the same command retries.)"
        )
    return f"was {row.status}; the same command continues it."


class _Clock:
    """Times how long loading the model took, and from then until the film's file was written."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.ready_at: float | None = None
        self.there_at: float | None = None

    def timings(self) -> dict[str, float]:
        """Seconds; a command that had nothing to render has no start-up."""
        ready = self.ready_at or self._began
        there = self.there_at or time.monotonic()
        return {
            "startup_seconds": round(ready - self._began, 3),
            "work_seconds": round(there - ready, 3),
        }


def _work(
    farm: Farm, film_id: str, tags: tuple[str, ...], output: Path, clock: _Clock
) -> tuple[FilmRow, Delivery | None]:
    """Renders the film on this machine and writes it as soon as it is delivered."""
    from app.cli.film_progress import follow
    from flows.run_local import WorkerOptions, working

    campaign = film_id.rpartition("-")[0]
    # The film is rendered on this machine, whatever tags it requires.
    options = WorkerOptions(passing=True, tags=tags)
    try:
        with stopped_by_signals(), working(farm, options, campaigns=[campaign]) as work:
            row = follow(lambda: _rows(farm, film_id), work.require_working)[0]
            delivery = _write(farm, film_id, output)
            clock.ready_at, clock.there_at = work.ready_at, time.monotonic()
            return row, delivery
    except KeyboardInterrupt:
        say(
            "Interrupted. Rendered segments are kept: the same command continues, and so does a "
            f"`longreel worker`. `longreel cancel {campaign}` cancels it."
        )
        raise typer.Exit(INTERRUPTED) from None


def _rows(farm: Farm, film_id: str) -> list[FilmRow]:
    from db.films import listing

    with farm.database.read() as connection:
        return listing.films_of(connection, film_id)


def _write(farm: Farm, film_id: str, output: Path) -> Delivery | None:
    """Writes the delivered film to `output`; None if it is not delivered."""
    from db.films import films
    from flows.deliveries import fetch_film

    with farm.database.read() as connection:
        delivery = films.get(connection, film_id).delivery
    if delivery:
        fetch_film(farm.store, delivery, output)
    return delivery


def _require_writable(output: Path) -> None:
    """Raises `InputError` if the film could not be written to `output`."""
    folder = output.absolute().parent
    try:
        if output.is_dir():
            raise InputError(f"{output} is a folder; give -o the name of a file: film.mp4.")
        if output.exists() and not output.is_file():
            raise InputError(f"{output} is not an ordinary file; choose another -o.")
        if output.suffix.lower() not in {".mp4", ".m4v"}:
            raise InputError(f"{output} would be an MP4 file; give -o a name that ends in .mp4.")
    except OSError as error:
        raise InputError(f"The film cannot be written to {output}: {error.strerror}.") from None
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; make it, or choose another -o.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} cannot be written to; choose another -o.")
