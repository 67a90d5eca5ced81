"""Measures if the service carries a farm: lists, films and submissions beside each other, streams.

Starts a PostgreSQL (or uses that of LONGREEL_DATABASE_URL, an empty database), submits a campaign
of that many segments, and starts `longreel serve`. Then clients ask for pages, films, segments and
videos and submit new ones, as fast as is asked for; streams are opened, and an event is timed on
its way to all of them, and a film of 2 GiB is downloaded. Prints each figure with its goal, and
ends with 1 if one is missed. The goals are for two cores that do nothing else, the clients among
what they do.

    python -m benchmarks.service [--segments 1000000] [--seconds 60] [--rate 200] [--streams 500]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil

from benchmarks.scale import a_postgresql, submit
from db import events
from db.engine import open_database
from film.settings import settings

MILLISECONDS, STREAM_SECONDS, DOWNLOAD_MB = 200.0, 1.0, 64.0
"""Goals: the 95th percentile of an answer, an event on its way to the last stream, and what a
download adds to the memory of the service."""
GROWTH_MB = 32.0
"""What the second half of the requests may add to the memory of the service."""
DOWNLOAD_BYTES = 2 * 1024**3
IN_FLIGHT = 32
"""Requests at a time, at most."""
READS = {
    "a page of films": "/api/v1/films",
    "films by status": "/api/v1/films?status=queued,waiting",
    "films by text": "/api/v1/films?text=Film%2077",
    "a campaign": "/api/v1/campaigns/{campaign}",
    "campaigns": "/api/v1/campaigns",
    "a film": "/api/v1/films/{film}",
    "its segments": "/api/v1/films/{film}/segments",
    "workers": "/api/v1/workers",
    "a page of videos": "/v1/videos",
    "a video": "/v1/videos/video_{film}",
}
WRITE = "a new video"
WRITES = 0.1
"""Part of the requests that submit a video."""


class Figures:
    """Seconds of answers by what was asked for, and what went wrong."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self.missed = 0
        self.half_way = 0.0
        """Memory of the service in MB, half of the way."""
        self._service: psutil.Process | None = None

    def watch(self, pid: int) -> None:
        """Reads the memory of this process from now on."""
        self._service = psutil.Process(pid)

    def memory(self) -> float:
        """Memory of the service in MB."""
        assert self._service is not None
        return float(self._service.memory_info().rss / 1e6)

    def check(self, name: str, value: float, goal: float, unit: str) -> None:
        """Prints a figure that is to be at most `goal`."""
        met = value <= goal
        self.missed += not met
        verdict = "" if met else "  MISSED"
        print(f"{name:<34} {value:10.4g} {unit:<4} (goal: {goal:g} or less){verdict}", flush=True)


@contextmanager
def serving(home: str) -> Iterator[tuple[str, int]]:
    """The address and process id of a running service."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--log-level", "warning"]
    # All clients have the same address here.
    mine = {"LONGREEL_HOME": home, "LONGREEL_REQUESTS_A_MINUTE": "0"}
    environment = {**os.environ, **mine}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"The service is at (http://\S+) ", line):
                yield found[1], process.pid
                break
    finally:
        process.terminate()
        process.wait()


async def ask(
    client: aiohttp.ClientSession, name: str, path: str, figures: Figures, chance: random.Random
) -> None:
    """One request."""
    began = time.perf_counter()
    try:
        if name == WRITE:
            body = {"model": "demo", "prompt": f"A ball {chance.random()}.", "seconds": "2"}
            asked = client.post("/v1/videos", json=body)
        else:
            asked = client.get(path)
        async with asked as answer:
            text = await answer.text()
        if answer.status >= 400:
            figures.errors.append(f"{name}: {answer.status} {text[:200]}")
    except aiohttp.ClientError as error:
        figures.errors.append(f"{name}: {error!r}")
    figures.seconds[name].append(time.perf_counter() - began)


async def mixed(address: str, campaign: str, films: int, options: Any, figures: Figures) -> float:
    """Requests at the wanted rate; the rate that was reached. Notes the memory of the service half
    of the way."""
    chance = random.Random(1)
    # A client that takes little of the cores that it shares with the service.
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(address, connector=connector) as client:
        began = time.perf_counter()
        tasks: set[asyncio.Task[None]] = set()
        sent = 0
        while (passed := time.perf_counter() - began) < options.seconds:
            if passed > options.seconds / 2 and not figures.half_way:
                figures.half_way = figures.memory()
            while sent < passed * options.rate and len(tasks) < IN_FLIGHT:
                name = WRITE if chance.random() < WRITES else chance.choice(list(READS))
                film = f"{campaign}-{chance.randint(1, films)}"
                path = READS.get(name, "").format(campaign=campaign, film=film)
                task = asyncio.create_task(ask(client, name, path, figures, chance))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        return sent / (time.perf_counter() - began)


async def stream(address: str, film: str, opened: asyncio.Semaphore, arrived: list[float]) -> None:
    """Waits for one event of a stream."""
    async with (
        httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as client,
        client.stream("GET", f"/api/v1/films/{film}/stream") as answer,
    ):
        opened.release()
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                arrived.append(time.perf_counter())
                return


async def streams(address: str, film: str, url: str, count: int) -> float:
    """Seconds until an event has reached the last of `count` streams."""
    opened, arrived = asyncio.Semaphore(0), list[float]()
    tasks = [asyncio.create_task(stream(address, film, opened, arrived)) for _ in range(count)]
    for _ in range(count):
        await opened.acquire()
    await asyncio.sleep(1)
    database = open_database(url)
    with database.write() as connection:
        events.record(connection, film, "waiting", "timed by a benchmark")
    began = time.perf_counter()
    await asyncio.gather(*tasks)
    database.close()
    return max(arrived) - began


def deliver(film_id: str, url: str, home: str) -> None:
    """Puts a large file into the store as this film, in place of its rendering."""
    from db.films import film_lease, films
    from db.tables import films as table
    from film.types import Delivery
    from storage import keys

    key = keys.film_video("ab" * 32)
    path = Path(home, "store", key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(DOWNLOAD_BYTES)
    database = open_database(url)
    with database.write() as connection:
        connection.execute(table.update().where(table.c.id == film_id).values(status="stitching"))
        film = films.get(connection, film_id).replace(owner="benchmark", attempt=1)
        mine = {"owner": "benchmark", "attempt": 1}
        connection.execute(table.update().where(table.c.id == film_id).values(**mine))
        delivery = Delivery(
            key=key,
            num_frames=film.plan.num_frames,
            width=film.plan.width,
            height=film.plan.height,
            fps=film.plan.fps,
            size_bytes=DOWNLOAD_BYTES,
            sha256="ab" * 32,
        )
        assert film_lease.finish(connection, film, delivery)
    database.close()


async def download(address: str, film: str, figures: Figures) -> float:
    """MB that the service grew by, at most, while a film was downloaded."""
    before, most, received = figures.memory(), 0.0, 0
    async with (
        aiohttp.ClientSession(address) as client,
        client.get(f"/api/v1/films/{film}/content") as answer,
    ):
        async for piece in answer.content.iter_chunked(1 << 20):
            received += len(piece)
            most = max(most, figures.memory())
    assert received == DOWNLOAD_BYTES
    return most - before


def main() -> int:
    """Prints the figures; returns 1 if one misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--streams", type=int, default=500)
    options = parser.parse_args()
    figures = Figures()
    with a_postgresql() as url, tempfile.TemporaryDirectory() as home:
        os.environ.update(LONGREEL_DATABASE_URL=url, LONGREEL_HOME=home)
        settings.cache_clear()
        done = submit(options.segments)
        print(f"{options.segments} segments submitted in {done['seconds']:.0f} s", flush=True)
        films = options.segments // 10
        deliver(f"{done['campaign']}-2", url, home)
        with serving(home) as (address, pid):
            figures.watch(pid)
            asyncio.run(measure(address, url, str(done["campaign"]), films, options, figures))
            print(f"memory of the service: {figures.memory():.0f} MB")
    return 1 if figures.missed else 0


async def measure(
    address: str, url: str, campaign: str, films: int, options: Any, figures: Figures
) -> None:
    """All of it, on a running service."""
    rate = await mixed(address, campaign, films, options, figures)
    for name, seconds in sorted(figures.seconds.items()):
        p95 = statistics.quantiles(seconds, n=20)[-1] * 1000
        figures.check(f"{name} ({len(seconds)}), 95 %", p95, MILLISECONDS, "ms")
    figures.check("requests below the rate", max(0.0, 0.98 * options.rate - rate), 0, "/s")
    grown = figures.memory() - figures.half_way
    figures.check("memory, second half of the requests", grown, GROWTH_MB, "MB")
    figures.check("errors", len(figures.errors), 0, "")
    for error in figures.errors[:5]:
        print(f"  {error}")
    late = await streams(address, f"{campaign}-1", url, options.streams)
    figures.check(f"an event to {options.streams} streams", late, STREAM_SECONDS, "s")
    added = await download(address, f"{campaign}-2", figures)
    figures.check("memory for a download of 2 GiB", added, DOWNLOAD_MB, "MB")


if __name__ == "__main__":
    raise SystemExit(main())
