"""Measures if the database carries a farm: submission, claims, listings, with nothing rendered.

Runs against the PostgreSQL of LONGREEL_DATABASE_URL (an empty database), or one that it starts
itself, and a SQLite file. Prints a figure and its goal for each, and ends with 1 if one is
missed. The goals are for two cores that do nothing else.

    python benchmarks/scale.py [--segments 100000] [--rows 1000000] [--workers 64] [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db.engine import Database, open_database
from db.films import campaigns, films, listing
from db.schema import migrate
from db.segments import claims as claiming
from db.segments import progress, segment_lease, work_kinds
from db.segments.claims import Lease
from db.segments.fair_share import Abilities
from film.reading.campaign import read_campaign
from film.types import Campaign, Take

SCENES, SEGMENTS_EACH = 5, 2
"""Segments of each film: so half of its segments wait for another."""
ABLE = Abilities(models=("demo",))
LEASE = 60.0
"""Seconds."""
THREADS_EACH = 8
"""Claiming workers in one process; 64 interpreters would not fit into a small machine."""
GOALS: dict[str, tuple[str, float]] = {
    "submit": ("s", 60.0),
    "submit memory": ("MiB", 1024.0),
    "claim and finish": ("a second", 300.0),
    "claim, much waiting : little": ("times", 2.0),
    "ls": ("ms", 200.0),
    "show a film": ("ms", 200.0),
    "show a campaign": ("ms", 200.0),
    "campaign roll-up": ("ms", 200.0),
    "SQLite lock errors": ("", 0.0),
}


class Results:
    """The figures as they come, each printed with its goal."""

    def __init__(self) -> None:
        self.missed = 0

    def add(self, name: str, value: float, more: str = "") -> None:
        """Prints a figure, and counts it if its goal is missed."""
        unit, goal = GOALS[name]
        at_least = name == "claim and finish"
        met = value >= goal if at_least else value <= goal
        self.missed += not met
        bound = f"{'≥' if at_least else '≤'} {goal:g}"
        verdict = "" if met else "  MISSED"
        print(f"{name:<30} {value:10.4g} {unit:<9} {bound:>8}{verdict}  {more}", flush=True)


# -- the work ----------------------------------------------------------------------------------


def a_campaign(count: int) -> Campaign:
    """A campaign of `count` segments, in films of ten."""
    lines = []
    for number in range(-(-count // (SCENES * SEGMENTS_EACH))):
        scenes = [
            # With its own seed each scene is work of its own.
            {"prompt": "A ball rolls.", "seconds": 3.5, "seed": number * SCENES + scene}
            for scene in range(SCENES)
        ]
        lines.append(json.dumps({"title": f"Film {number}", "scenes": scenes}))
    return read_campaign("\n".join(lines), "scale.jsonl", "scale")


def submit(count: int) -> dict[str, Any]:
    """Submits a campaign as `longreel submit` does; its id, seconds and the peak of memory."""
    from flows.farm import open_farm
    from flows.submission.submit import submit as submit_campaign

    farm = open_farm()
    migrate(farm.database)
    began = time.perf_counter()
    ids = submit_campaign(farm, a_campaign(count))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    farm.close()
    return {"campaign": ids[0].rpartition("-")[0], "seconds": seconds, "mib": peak}


def claim(database: Database, owner: str) -> Lease | None:
    """A claim as a worker makes it."""
    with database.write() as connection:
        return claiming.claim(connection, owner, ABLE, LEASE)


def finish(database: Database, lease: Lease, address: str) -> bool:
    """The end of a segment, with a take that was never rendered."""
    take = Take(
        address=address,
        video_key=f"takes/{address}/video.mp4",
        tail_key=f"takes/{address}/tail.mkv",
        num_frames=17,
        size_bytes=20_000,
        sha256=address,
        made_by={"render_seconds": 1.5, "device": "none"},
    )
    with database.write() as connection:
        return segment_lease.finish(connection, lease, take)


def addresses(database: Database) -> dict[int, str]:
    """The addresses of all segments, which a worker knows from its film's plan."""
    table = segment_lease.segments
    with database.read() as connection:
        rows = connection.execute(sa.select(table.c.id, table.c.address))
        return {row.id: row.address for row in rows}


def work(url: str, name: str, seconds: float, threads: int, *, beat: bool) -> dict[str, Any]:
    """Claims and finishes in threads, until the time is over or nothing is left."""
    database = open_database(url)
    known = addresses(database)
    claimed: list[tuple[int, int]] = []
    errors: list[str] = []
    sys.stdin.readline()
    end = time.monotonic() + seconds

    def run(owner: str) -> None:
        try:
            while time.monotonic() < end:
                lease = claim(database, owner)
                if lease is None:
                    return
                if beat:
                    with database.write() as connection:
                        segment_lease.beat(connection, lease, LEASE, 0.5)
                if finish(database, lease, known[lease.id]):
                    claimed.append((lease.id, lease.attempt))
        except Exception as error:  # noqa: BLE001  (counted)
            errors.append(repr(error))

    workers = [threading.Thread(target=run, args=(f"{name}/{n}",)) for n in range(threads)]
    began, cpu_began = time.monotonic(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.monotonic() - began
    used = time.process_time() - cpu_began
    database.close()
    return {"claimed": claimed, "errors": errors, "seconds": took, "cpu_seconds": used}


# -- the measurements --------------------------------------------------------------------------


@dataclass(frozen=True)
class Claims:
    """What claiming workers did together."""

    rate: float
    """Segments a second."""
    said: str
    errors: list[str]


def measure_claims(
    url: str, workers: int, threads: int, seconds: float, *, beat: bool = False
) -> Claims:
    """Has `workers` claim and finish at once, in processes of that number of `threads`."""
    count = max(1, workers // threads)
    started = [
        _start(url, "--work", f"p{n}", str(seconds), str(threads), str(int(beat)))
        for n in range(count)
    ]
    time.sleep(2)  # all have read what there is
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    claimed = [tuple(one) for result in results for one in result["claimed"]]
    assert len(claimed) == len(set(claimed)), "a segment was rendered twice"
    errors = [error for result in results for error in result["errors"]]
    longest = max(result["seconds"] for result in results)
    each = sum(result["cpu_seconds"] for result in results) / max(len(claimed), 1) * 1000
    said = f"{count * threads} workers, {len(claimed)} segments, {each:.2f} ms CPU each in a worker"
    return Claims(rate=len(claimed) / longest, said=said, errors=errors)


def claim_milliseconds(database: Database, rounds: int = 7, count: int = 40) -> float:
    """Median time of a claim, each given back afterwards; of the quietest of some rounds."""
    medians = []
    for _ in range(rounds):
        took = []
        for _ in range(count):
            began = time.perf_counter()
            lease = claim(database, "measuring")
            took.append(time.perf_counter() - began)
            assert lease is not None
            with database.write() as connection:
                segment_lease.release(connection, lease)
        medians.append(statistics.median(took) * 1000)
    return min(medians)


def multiply(database: Database, campaign_id: str, rows: int) -> None:
    """Copies a campaign until there are `rows` segments, some films of each finished."""
    with database.write() as connection:
        have = connection.execute(sa.text("SELECT count(*) FROM segments")).scalar_one()
        of_one = sa.text("SELECT count(*) FROM segments WHERE campaign_id = :c")
        each = connection.execute(of_one, {"c": campaign_id}).scalar_one()
        for number in range(max(0, -(-(rows - have) // each))):
            for statement in _COPY:
                connection.execute(sa.text(statement), {"c": campaign_id, "n": f"m{number}"})
    with database.engine.connect() as connection:
        # As autovacuum does after that number of new rows.
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        autocommit.execute(sa.text("VACUUM ANALYZE"))


_COPY = (
    "INSERT INTO campaigns (id, name, priority, created_at, active) "
    "SELECT :n, name, priority - 1, created_at, true FROM campaigns WHERE id = :c",
    "INSERT INTO kinds SELECT :n, kind, model, shape, tags FROM kinds WHERE campaign_id = :c",
    "INSERT INTO films (id, campaign_id, position, title, status, request, plan, num_frames, "
    "seconds, created_at, finished_at) SELECT :n || '-' || position, :n, position, title, "
    "CASE WHEN position % 2 = 0 THEN 'delivered' ELSE 'queued' END, request, plan, num_frames, "
    "seconds, created_at, CASE WHEN position % 2 = 0 THEN created_at END "
    "FROM films WHERE campaign_id = :c",
    "INSERT INTO segments (film_id, position, continues, address, campaign_id, kind, status) "
    "SELECT f.id, s.position, s.continues, md5(s.address || :n) || md5(s.address), :n, s.kind, "
    "CASE WHEN f.status = 'delivered' THEN 'done' WHEN s.continues IS NULL THEN 'ready' "
    "ELSE 'waiting' END FROM segments s "
    "JOIN films f ON f.campaign_id = :n "
    "AND f.position = split_part(s.film_id, '-', 2)::int WHERE s.campaign_id = :c",
)


def measure_reads(database: Database, campaign_id: str, results: Results) -> None:
    """What the commands read for people."""

    def of_film(connection: Any) -> None:
        film_id = f"{campaign_id}-77"
        campaigns.of(connection, film_id)
        listing.films_of(connection, film_id)
        work_kinds.still_wanted(connection, campaign_id, film_id)
        films.get(connection, film_id)
        progress.of_film(connection, film_id)

    def of_campaign(connection: Any) -> None:
        campaigns.of(connection, campaign_id)
        listing.films_of(connection, campaign_id, 50)
        work_kinds.still_wanted(connection, campaign_id)
        listing.tally(connection, campaign_id)

    for name, read in (
        ("ls", lambda connection: listing.films_of(connection, limit=50)),
        ("show a film", of_film),
        ("show a campaign", of_campaign),
        ("campaign roll-up", lambda connection: listing.tally(connection, campaign_id)),
    ):
        results.add(name, _milliseconds(database, read))


def _milliseconds(database: Database, read: Callable[[Any], Any], times: int = 7) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        with database.read() as connection:
            read(connection)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def on_postgresql(url: str, options: argparse.Namespace, results: Results) -> None:
    """Everything that is asked of PostgreSQL."""
    database = open_database(url)
    migrate(database)
    for _ in range(2):  # two campaigns, as later: a claim then also notes whose turn it was
        _submit(url, min(1_000, options.segments // 20))
    little = claim_milliseconds(database)
    told = _submit(url, options.segments)
    results.add("submit", told["seconds"], f"{options.segments} segments")
    results.add("submit memory", told["mib"])
    with database.write() as connection:
        campaigns.set_priority(connection, told["campaign"], 1)
    much = claim_milliseconds(database)
    results.add("claim, much waiting : little", much / little, f"{much:.2f} : {little:.2f} ms")
    claims = measure_claims(url, options.workers, THREADS_EACH, options.seconds)
    results.add("claim and finish", claims.rate, claims.said)
    assert claims.errors == [], claims.errors[:3]
    multiply(database, told["campaign"], options.rows)
    measure_reads(database, told["campaign"], results)
    database.close()


def on_sqlite(options: argparse.Namespace, results: Results) -> None:
    """Four processes at one file, with a beat for each segment."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/longreel.db"
        _submit(url, options.sqlite_segments)
        claims = measure_claims(url, 4, 1, 3600.0, beat=True)
        said = f"{claims.rate:.0f} segments a second, {claims.said}"
        results.add("SQLite lock errors", len(claims.errors), said)
        for error in claims.errors[:3]:
            print("   ", error)


def _submit(url: str, count: int) -> dict[str, Any]:
    process = _start(url, "--submit", str(count))
    told: dict[str, Any] = json.loads(process.communicate()[0].splitlines()[-1])
    return told


def _start(url: str, *arguments: str) -> subprocess.Popen[str]:
    home = tempfile.gettempdir() + f"/longreel-scale-{os.getpid()}"
    return subprocess.Popen(
        [sys.executable, __file__, "--url", url, *arguments],
        env={**os.environ, "LONGREEL_DATABASE_URL": url, "LONGREEL_HOME": home},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def a_postgresql() -> Iterator[str]:
    """The URL of the database to measure."""
    if url := os.environ.get("LONGREEL_DATABASE_URL"):
        yield url
        return
    from tests.services.postgres import PostgresServer, bundled_binaries, system_binaries

    binaries = system_binaries() or bundled_binaries()
    assert binaries is not None, "there is no PostgreSQL; set LONGREEL_DATABASE_URL"
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server.create_database()
    finally:
        server.close()


def main() -> int:
    """Prints the figures; returns 1 if one misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="of claiming")
    parser.add_argument("--sqlite-segments", type=int, default=10_000)
    parser.add_argument("--only", choices=["postgresql", "sqlite"])
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--submit", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.submit:
        print(json.dumps(submit(options.submit)))
        return 0
    if options.work:
        name, seconds, threads, beat = options.work
        done = work(options.url, name, float(seconds), int(threads), beat=beat == "1")
        print(json.dumps(done))
        return 0
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, nice {os.nice(0)}")
    results = Results()
    if options.only != "sqlite":
        with a_postgresql() as url:
            on_postgresql(url, options, results)
    if options.only != "postgresql":
        on_sqlite(options, results)
    return 1 if results.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
