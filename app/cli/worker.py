"""`longreel worker`: renders what is submitted, in this process or in one for each GPU."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.film_progress import LOOK_SECONDS
from app.cli.log_options import with_log_options
from app.cli.log_setup import log_environment
from app.cli.output import (
    DONE,
    DRAINED,
    FAILED,
    FINAL,
    FINAL_AT_FIRST,
    Command,
    reporting_errors,
    say,
    say_what_stays_on,
    stopped_by_signals,
)
from film.errors import DatabaseError

if TYPE_CHECKING:
    from flows.farm import Farm
    from flows.machine.supervisor import Child, Parent
    from flows.run_local import LocalWork, WorkerOptions

logger = logging.getLogger(__name__)

Models = Annotated[
    str | None, typer.Option(help="Comma-separated models to render. [all]", show_default=False)
]
Tags = Annotated[
    str, typer.Option(help="Comma-separated tags that this worker offers, such as big,fast.")
]
Quiet = Annotated[
    str | None, typer.Option(help="Local hours in which it takes no new work, such as 22:00-07:00.")
]


@with_log_options(default="info")
def worker(
    context: typer.Context,
    models: Models = None,
    tags: Tags = "",
    name: Annotated[
        str | None, typer.Option(help="Its name. [machine and device]", show_default=False)
    ] = None,
    quiet: Quiet = None,
    gpus: Annotated[
        str | None, typer.Option(help="Comma-separated GPUs to use. [all]", show_default=False)
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Number of worker processes without a GPU. [1]", min=1)
    ] = None,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Stop when all films are finished.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Render one segment, if one is ready, and stop.")
    ] = False,
    attached: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
    report_fd: Annotated[int | None, typer.Option("--report-fd", hidden=True)] = None,
    flow_run: Annotated[str | None, typer.Option("--flow-run", hidden=True)] = None,
) -> None:
    """Render what is submitted until interrupted, or command a running worker.

    With several GPUs it starts one process for each, or for each group that renders together
    (context_parallel in LONGREEL_FLAGS).

    Example: longreel worker --models demo --tags big --name gpu-03
    """
    from film.errors import InputError
    from flows.machine.gpus import choose_gpus, list_gpus
    from flows.machine.supervisor import Parent
    from flows.pools.placement import placed

    if context.invoked_subcommand:
        return
    with reporting_errors() as command:
        if report_fd is not None:
            command.report = _report_to(report_fd)
        if gpus and processes:
            raise InputError("Give either --gpus or --processes, not both.")
        there = [] if processes else list_gpus()
        used = choose_gpus(gpus, there) if gpus else there
        slots = assign_devices(used, processes)
        gpu = slots[0].removeprefix("cuda:") if used else None
        me = read_options(models, tags, name, quiet, gpu, once)
        parent = Parent() if attached else None
        with placed(flow_run, orphaned=lambda: bool(parent and parent.gone.is_set())) as place:
            if len(slots) > 1:
                code = _work_in_children(me, slots, until_idle, parent, command)
            else:
                if gpu:  # the chosen one, rather than the first of the machine
                    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
                # A supervisor says itself that it stops; the log of a work pool has this process.
                supervised = parent is not None and report_fd is None
                code = _work(me, until_idle, parent, command, supervised=supervised)
            place.code = code
    raise typer.Exit(code)


def _report_to(fd: int) -> Callable[[str], None]:
    """Reports errors through the pipe of the process that started this one."""
    from flows.pools.worker_reports import WorkerReport, send_report

    def report(error: str) -> None:
        try:
            send_report(fd, WorkerReport(error))
        except OSError as gone:
            logger.warning("The error could not be reported to the parent process: %s", gone)

    return report


def assign_devices(used: list[str], processes: int | None) -> list[str]:
    """The device of each worker process: `cpu`, or `cuda:` and its comma-separated GPUs.

    Raises `InputError` if more GPUs are to render together than there are.
    """
    from film.settings import settings
    from flows.machine.gpus import group_gpus

    shared = group_gpus(used, settings().machine_flags.context_parallel)
    if shared.left:
        say(f"Not used, because too few are left to render together: GPU {', '.join(shared.left)}.")
    return [f"cuda:{group}" for group in shared.groups] or ["cpu"] * (processes or 1)


def read_options(
    models: str | None,
    tags: str,
    name: str | None = None,
    quiet: str | None = None,
    gpu: str | None = None,
    once: bool = False,
) -> WorkerOptions:
    """Raises `InputError` if a model is unknown or the quiet hours cannot be read."""
    from film.quiet import parse_quiet
    from flows.model_catalog.resolve_name import naming
    from flows.run_local import WorkerOptions

    name_of = naming(Path())
    chosen = [name_of(part.strip()).name for part in models.split(",")] if models else None
    return WorkerOptions(
        name=name,
        gpu=gpu,
        models=None if chosen is None else tuple(chosen),
        tags=tuple(part.strip() for part in tags.split(",") if part.strip()),
        quiet=parse_quiet(quiet) if quiet else None,
        once=once,
    )


def _work(
    me: WorkerOptions,
    until_idle: bool,
    parent: Parent | None,
    command: Command,
    *,
    supervised: bool,
) -> int:
    """Renders in this process; returns the exit code."""
    from db.films import films
    from flows.farm import open_farm
    from flows.prefect_runs import prefect_server
    from flows.run_local import working

    farm = open_farm(create=False)
    prefect_server.require(farm.settings)
    farm.store.check()
    farm.prepare_database()
    with farm.database.read() as connection:
        if (until_idle or me.once) and not films.any_open(connection):
            say("There is nothing to render: no film is open.")
            return DONE
    try:
        with stopped_by_signals(quiet=supervised) as stopping:
            if parent:
                parent.end_with(stopping)
            with working(farm, me, tell=say) as work:
                command.started = True
                how = (
                    ""
                    if supervised
                    else " Ctrl-C stops it; unfinished segments return to the queue."
                )
                say(f"The worker {work.name} renders what is submitted.{how}")
                return _wait(farm, work, until_idle, me.once, command)
    except KeyboardInterrupt:
        if not supervised:
            say("Stopped. Unfinished segments are back in the queue.")
        return DONE
    finally:
        farm.close()
        if not parent:
            say_what_stays_on()


def _wait(farm: Farm, work: LocalWork, until_idle: bool, once: bool, command: Command) -> int:
    """Waits until nothing is left to do, if that is asked for; returns the exit code."""
    told = None
    while True:
        work.require_working()
        if work.broken != told:
            told = work.broken
            if told:
                say(f"longreel: {told}")
                command.report(told)
        if (until_idle or once) and work.drained:
            say(f"The worker {work.name} is drained; `longreel worker resume` undoes that.")
            return DRAINED if work.broken else DONE
        if once and work.over and not _may_stitch(farm):
            return _end_of_one(work)
        if until_idle and _idle(farm):
            return DONE
        time.sleep(LOOK_SECONDS)


def _end_of_one(work: LocalWork) -> int:
    """Prints why no segment was rendered, if none was; returns the exit code."""
    if not work.begun:
        say("There is nothing to render now.")
    elif not work.segments_done:
        say("The segment was not rendered; `longreel events ID` shows why.")
        return FAILED
    return DONE


def _may_stitch(farm: Farm) -> bool:
    """True if a film has all its segments, and no other process finishes it."""
    from db.films import film_lease

    try:
        with farm.database.read() as connection:
            return film_lease.any_rendered(connection, farm.owner)
    except DatabaseError:
        return True


def _idle(farm: Farm) -> bool:
    from db.films import films

    try:
        with farm.database.read() as connection:
            return not films.any_open(connection)
    except DatabaseError:
        return False


def _work_in_children(
    me: WorkerOptions, slots: list[str], until_idle: bool, parent: Parent | None, command: Command
) -> int:
    """Runs a process for each slot, and restarts those that die; returns the exit code."""
    from flows.machine.supervisor import supervise

    command.started = True
    more = ["--until-idle"] if until_idle else []
    try:
        with stopped_by_signals() as stopping:
            if parent:
                parent.end_with(stopping)
            final = (*FINAL, FAILED) if me.once else FINAL
            return supervise(
                create_children(me, slots, more), final, say, final_at_first=FINAL_AT_FIRST
            )
    except KeyboardInterrupt:
        say("Stopped. Unfinished segments are back in the queue.")
        return DONE


def create_children(me: WorkerOptions, slots: list[str], more: list[str]) -> list[Child]:
    """A worker process for each slot (`cpu`, or `cuda:` and its GPUs), not started yet."""
    from flows.machine.supervisor import Child

    # -P: no file of the folder that the command is run in is imported.
    base = [sys.executable, "-P", "-m", "app.cli", "worker", "--attached", *more]
    base += ["--tags", ",".join(me.tags)]
    if me.models is not None:
        base += ["--models", ",".join(me.models)]
    if me.quiet:
        base += ["--quiet", str(me.quiet)]
    if me.once:
        base += ["--once"]
    children = []
    for number, slot in enumerate(slots):
        gpu = slot.removeprefix("cuda:") if slot != "cpu" else ""
        name = f"{me.name}-{gpu.replace(',', '-') or number}" if me.name else ""
        alone = [*base, *(["--name", name] if name else []), *([] if gpu else ["--processes", "1"])]
        environment = {"CUDA_VISIBLE_DEVICES": gpu, **log_environment()}
        children.append(Child(name or slot, alone, environment))
    return children
