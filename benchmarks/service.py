"""Measures if the service carries a farm: lists, films and submissions beside each other, streams.

Starts a PostgreSQL (or uses that of LONGREEL_DATABASE_URL, an empty database), submits a campaign
of that many segments, and starts `longreel serve`. Then clients ask for pages, films, segments and
videos and submit new ones, as fast as is asked for; streams are opened, and an event is timed on
its way to all of them. Prints each figure with its goal, and ends with 1 if one is missed. The
goals are for two cores that do nothing else, the clients among what they do.

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
from typing import Any

import aiohttp
import httpx
import psutil

from benchmarks.scale import a_postgresql, submit
from db import events
from db.engine import open_database
from film.settings import settings

MILLISECONDS, STREAM_SECONDS = 200.0, 1.0
"""Goals: the 95th percentile of an answer, and an event on its way to the last stream."""
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
    environment = {**os.environ, "LONGREEL_HOME": home}
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
    """Requests at the wanted rate; the rate that was reached."""
    chance = random.Random(1)
    # A client that takes little of the cores that it shares with the service.
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(address, connector=connector) as client:
        began = time.perf_counter()
        tasks: set[asyncio.Task[None]] = set()
        sent = 0
        while (passed := time.perf_counter() - began) < options.seconds:
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
        with serving(home) as (address, pid):
            process = psutil.Process(pid)
            asyncio.run(measure(address, url, str(done["campaign"]), films, options, figures))
            print(f"memory of the service: {process.memory_info().rss / 1e6:.0f} MB")
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
    figures.check("errors", len(figures.errors), 0, "")
    for error in figures.errors[:5]:
        print(f"  {error}")
    late = await streams(address, f"{campaign}-1", url, options.streams)
    figures.check(f"an event to {options.streams} streams", late, STREAM_SECONDS, "s")


if __name__ == "__main__":
    raise SystemExit(main())
