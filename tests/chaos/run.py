"""One run of chaos: the campaign undisturbed, the same with faults, and what differs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.chaos import checks
from tests.chaos.faults import Fault, faults
from tests.chaos.harness import (
    Part,
    RenderingProcess,
    Servers,
    Site,
    Worker,
    campaign_of,
    say,
    serving,
    workers_at,
)
from tests.chaos.watch import Watch

PATIENCE_SECONDS = 40.0
"""How long a fault waits whose turn does not come by progress, or whose part is missing."""
END_SECONDS = 900.0
"""Longest from the last fault until the last film, on a machine that is busy with other work."""
SETTLE_SECONDS = 120.0
"""Longest from the last film until Prefect agrees."""


@dataclass
class Report:
    """How a run went."""

    seed: int
    films: int
    segments: int = 0
    store: str = ""
    hits: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    failures: int = 0
    starts: int = 0
    leased_again: list[float] = field(default_factory=list)
    stopped_in: list[float] = field(default_factory=list)
    looks: int = 0
    undisturbed_seconds: float = 0.0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def table(self) -> str:
        """The summary, for people."""
        longest = _longest(self.leased_again)
        rows = [
            ("seed", str(self.seed)),
            ("faults", str(sum(self.hits.values()))),
            *((f"  {kind}", str(count)) for kind, count in sorted(self.hits.items())),
            ("S3 server", self.store),
            ("films", str(self.films)),
            ("segments", str(self.segments)),
            ("attempts at segments", str(self.attempts)),
            ("attempts that counted as failures", str(self.failures)),
            ("workers started", str(self.starts)),
            ("killed workers' segments leased again", str(len(self.leased_again))),
            ("longest from the kill until then", longest),
            ("longest end of a worker that was asked to", _longest(self.stopped_in)),
            ("looks at the database", str(self.looks)),
            ("undisturbed", f"{self.undisturbed_seconds:.0f} s"),
            ("with faults", f"{self.seconds:.0f} s"),
            ("violations", str(len(self.violations))),
            *(("  !", violation) for violation in self.violations),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _longest(seconds: list[float]) -> str:
    return f"{max(seconds):.1f} s" if seconds else "none"


def chaos(*, seed: int, count: int, films: int, workers: int, lease_seconds: float) -> Report:
    """Runs it all on servers of its own. Call it from the main thread: they die with that."""
    report = Report(seed=seed, films=films)
    text = campaign_of(films)
    with serving() as servers:
        report.store = servers.store.way
        before = _undisturbed(servers, text, workers, lease_seconds, report)
        site = Site.make(servers, "chaos", lease_seconds)
        ids = site.submit(text)
        say(f"{len(ids)} films submitted; {count} faults with seed {seed}")
        began = time.monotonic()
        report.starts, report.stopped_in = 0, []
        with Watch(site.database_url) as watch, workers_at(site, workers) as team:
            for worker in team:
                worker.ended = watch.killed
            _disturb(servers, team, watch, faults(seed, count, workers, lease_seconds), report)
            _come_to_an_end(servers, team, watch, report)
            report.seconds = time.monotonic() - began
            _settle(servers, team, site, report)
            _finish(team, report)
        report.looks, report.leased_again = watch.looks, watch.leased_again
        report.violations += watch.violations
        after = checks.read_result(site)
        report.segments = len(after.segments)
        report.attempts = sum(row.attempt for row in after.segments)
        report.failures = after.failures
        report.violations += [
            *checks.every_film_is_delivered(after),
            *checks.films_are_equal(before, after),
            *checks.objects_are_equal(before, after),
            *checks.takes_are_whole(after),
            *checks.nothing_is_rendered_twice(after),
            *checks.no_row_is_running(after),
            *checks.no_upload_is_left(after),
            *checks.no_file_is_left(site),
            *checks.no_process_is_left(site.folder),
            *checks.prefect_agrees(servers.prefect, after.films),
        ]
    return report


def _undisturbed(
    servers: Servers, text: str, workers: int, lease_seconds: float, report: Report
) -> checks.Result:
    site = Site.make(servers, "undisturbed", lease_seconds)
    ids = site.submit(text)
    say(f"{len(ids)} films submitted; first without faults")
    began = time.monotonic()
    with Watch(site.database_url) as watch, workers_at(site, workers) as team:
        _wait(lambda: watch.last is not None and watch.last.at_end, team, END_SECONDS)
        report.undisturbed_seconds = time.monotonic() - began
        _finish(team, report)
    report.violations += watch.violations
    result = checks.read_result(site)
    report.violations += checks.every_film_is_delivered(result)
    say(f"without faults: {report.undisturbed_seconds:.0f} s, {len(result.objects)} objects")
    return result


def _disturb(
    servers: Servers, team: list[Worker], watch: Watch, planned: list[Fault], report: Report
) -> None:
    """Each fault in its turn, spread over the segments that there are to render."""
    everything: list[Part] = [*servers.parts, *team]
    _wait(lambda: watch.last is not None, everything, END_SECONDS)
    assert watch.last is not None
    work, already = watch.last.work, watch.last.work_done
    for fault in planned:
        turn = already + (work - already) * fault.number / (len(planned) + 1)
        _wait(partial(_has_done, watch, turn), everything, PATIENCE_SECONDS)
        _pause(fault.delay, everything)
        part = _part(fault, servers, team)
        if isinstance(part, RenderingProcess) and not _wait(
            partial(_is_up, part), everything, PATIENCE_SECONDS
        ):
            part = part.worker  # nothing is left to render, or it does not get that far
        _wait(partial(_is_up, part), everything, END_SECONDS)
        say(
            f"fault {fault.number}: {part.name} {fault.how.name}, back after {fault.away:.1f} s "
            f"({watch.last.done} of {len(watch.last.segments)} segments done)"
        )
        part.hit(fault.how, fault.away)
        report.hits[f"{part.kind} {fault.how.name}"] += 1


def _has_done(watch: Watch, work: float) -> bool:
    return watch.last is not None and watch.last.work_done >= work


def _is_up(part: Part) -> bool:
    return part.up


def _part(fault: Fault, servers: Servers, team: list[Worker]) -> Part:
    worker = team[fault.worker]
    return {
        "worker": worker,
        "rendering process": RenderingProcess(worker),
        "database": servers.database,
        "s3": servers.store,
        "prefect": servers.prefect,
        **{f"network to {name}": network for name, network in servers.networks.items()},
    }[fault.part]


def _come_to_an_end(servers: Servers, team: list[Worker], watch: Watch, report: Report) -> None:
    everything: list[Part] = [*servers.parts, *team]
    say("no more faults; waiting for the films")
    seen = watch.looks
    over = _wait(
        lambda: bool(watch.looks > seen and watch.last and watch.last.at_end),
        everything,
        END_SECONDS,
    )
    if not over:
        report.violations.append(f"{END_SECONDS:.0f} s after the last fault films are still open.")


def _settle(servers: Servers, team: list[Worker], site: Site, report: Report) -> None:
    """Prefect receives late what it missed; workers see to that."""
    say("the films are at their end; waiting for Prefect to agree")
    everything: list[Part] = [*servers.parts, *team]
    _wait(lambda: all(worker.up and worker.at_work for worker in team), everything, END_SECONDS)
    _wait(lambda: servers.prefect.up and servers.prefect.answers, everything, END_SECONDS)
    began = time.monotonic()
    while time.monotonic() - began < SETTLE_SECONDS:
        if not checks.prefect_agrees(servers.prefect, checks.read_films(site)):
            say(f"Prefect agrees after {time.monotonic() - began:.0f} s")
            return
        _pause(2.0, everything)


def _finish(team: list[Worker], report: Report) -> None:
    """Asks every worker to end; none may refuse, none may have ended before."""
    for worker in team:
        code = worker.finish()
        if code != 0:
            report.violations.append(
                f"{worker.name} ended with {code} when asked to stop: {worker.last_words}"
            )
        report.violations += worker.by_itself
        report.starts += worker.starts
        report.stopped_in += worker.stopped_in


def _wait(ready: Callable[[], bool], parts: Sequence[Part], seconds: float) -> bool:
    """Tends the parts until the condition holds; False if that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        for part in parts:
            part.tend()
        time.sleep(0.05)
    return True


def _pause(seconds: float, parts: Sequence[Part]) -> None:
    _wait(lambda: False, parts, seconds)
