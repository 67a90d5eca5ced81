"""A campaign from the file to the films, on the embedded parts and on real servers alike."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from media.verify import verify_film
from tests.conftest import Installation
from tests.services.postgres import PostgresServer, bundled_binaries, system_binaries
from tests.services.s3 import S3Server

pytestmark = pytest.mark.slow

CAMPAIGN = """\
name: autumn
defaults:
  steps: 2
  seconds: 4
films:
  - title: Two scenes
    prompt: A red ball rolls to the right over green grass. A blue square grows on yellow sand.
  - title: A script
    scenes:
      - prompt: A green triangle stays on snow.
        seconds: 3
      - prompt: A green triangle moves up.
        seconds: 1
        seam: continue
matrix:
  prompts: [A yellow ball stays.]
  seeds: [1, 2]
"""


@pytest.fixture
def on_servers(
    served: Installation,
    postgres_server: PostgresServer,
    moto_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Installation:
    """An installation on PostgreSQL and S3."""
    home = tmp_path / "servers"
    home.mkdir()
    mine = {
        **moto_server.environment(),
        "LONGREEL_HOME": str(home),
        "LONGREEL_DATABASE_URL": postgres_server.create_database(),
        "LONGREEL_STORE_URL": f"s3://{moto_server.create_bucket()}/farm",
        "LONGREEL_S3_ENDPOINT_URL": moto_server.endpoint_url,
    }
    return replace(served, home=home, environment={**served.environment, **mine})


def deliver(place: Installation, workers: int = 1) -> list[dict[str, Any]]:
    """Submits the campaign, has it rendered, and returns the films as `ls` lists them."""
    (place.home / "autumn.yaml").write_text(CAMPAIGN)
    submitted = place.json("submit", "autumn.yaml")
    running = [place.start("worker", "--until-idle") for _ in range(workers)]
    for process in running:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    listed = place.json("ls")
    assert {film["campaign"] for film in listed} == {submitted["campaign"]}
    return listed


def downloaded(place: Installation, campaign: str) -> list[bytes]:
    """The films' bytes in order."""
    files = place.json("download", campaign, "-o", "films")
    return [(place.home / file["path"]).read_bytes() for file in files]


def test_a_campaign_is_the_same_on_embedded_parts_and_on_servers_with_two_workers(
    served: Installation, on_servers: Installation, prefect_api: str
) -> None:
    here = deliver(served)
    there = deliver(on_servers, workers=2)

    for films in (here, there):
        assert [film["status"] for film in films] == ["delivered"] * 4
        assert [film["progress"] for film in films] == [1.0] * 4
        assert [film["frames"] for film in films] == [32] * 4
        assert [film["segments"] for film in films] == [2, 3, 3, 3]
    mine = downloaded(served, here[0]["campaign"])
    assert mine == downloaded(on_servers, there[0]["campaign"])
    for index, film in enumerate(sorted((served.home / "films").iterdir())):
        verify_film(film, num_frames=32, width=96, height=64, fps=Fraction(8))
        assert film.name.startswith(f"{here[0]['campaign']}-{index + 1}-")
    rendered_once(on_servers, there)
    prefect_agrees(prefect_api, there)


def rendered_once(place: Installation, films: list[dict[str, Any]]) -> None:
    """No segment was rendered by two workers."""
    for film in films:
        events = place.json("events", film["id"])
        segments = [event["segment"] for event in events if event["kind"] == "rendered"]
        assert sorted(segments) == list(range(film["segments"]))
        assert not [event for event in events if event["kind"] == "error"]


def prefect_agrees(api: str, films: list[dict[str, Any]]) -> None:
    """A flow run per film and a task run per segment, with names, all completed."""
    os.environ["PREFECT_API_URL"] = api
    from prefect import get_client
    from prefect.client.schemas import filters

    with get_client(sync_client=True) as client:
        names = filters.FlowRunFilterName(any_=[film["title"] for film in films])
        runs = client.read_flow_runs(flow_run_filter=filters.FlowRunFilter(name=names))
        assert len(runs) >= len(films)
        assert {run.state_name for run in runs} == {"Completed"}
        script = [run for run in runs if run.name == "A script"]
        for run in script:
            this = filters.FlowRunFilterId(any_=[run.id])
            tasks = client.read_task_runs(flow_run_filter=filters.FlowRunFilter(id=this))
            assert {task.state_name for task in tasks} == {"Completed"}
            assert sorted(task.name for task in tasks) == [
                "deliver",
                "gather",
                "plan",
                "segment 1 of 3, scene 1",
                "segment 2 of 3, scene 1",
                "segment 3 of 3, scene 2",
                "stitch",
            ]


@pytest.fixture
def worker(served: Installation) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts workers, which end with the test."""
    started = []

    def start() -> subprocess.Popen[str]:
        started.append(served.start("worker"))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


def wait_for(look: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Looks until it is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def submit_long(place: Installation, write: Callable[[str, str], Path]) -> str:
    """A film that takes a while; returns its id."""
    write("long.jsonl", '{"prompt": "A red ball.", "seconds": 60, "title": "Long"}\n')
    return str(place.json("submit", "long.jsonl")["films"][0]["id"])


def test_a_cancelled_film_stops_at_once_and_a_retry_goes_on_from_there(
    served: Installation,
    write: Callable[[str, str], Path],
    worker: Callable[[], subprocess.Popen[str]],
) -> None:
    film = submit_long(served, write)
    worker()
    wait_for(lambda: served.json("show", film)["done"] >= 1, "a first segment")

    assert served.json("cancel", film) == [{"id": film, "status": "cancelled", "changed": True}]
    wait_for(lambda: not list((served.home / "scratch").glob("*/*/*")), "an empty scratch folder")
    shown = served.json("show", film)
    done = shown["done"]
    states = {segment["status"] for segment in shown["segment_list"]}
    assert states == {"done", "cancelled"}
    assert served.run("download", film).returncode == 1
    assert served.json("cancel", film)[0]["changed"] is False

    assert served.json("requeue", film)[0]["status"] == "queued"
    wait_for(lambda: served.json("show", film)["done"] > done, "another segment")
    first = [event for event in served.json("events", film) if event["segment"] == 0]
    assert len(first) == 1, "the first segment was rendered again"


def test_a_killed_worker_is_replaced_by_the_next_one_at_once(
    served: Installation,
    write: Callable[[str, str], Path],
    worker: Callable[[], subprocess.Popen[str]],
) -> None:
    write("film.jsonl", '{"prompt": "A red ball.", "seconds": 6, "steps": 4, "title": "Killed"}\n')
    film = served.json("submit", "film.jsonl")["films"][0]["id"]
    killed = served.start("worker")
    wait_for(lambda: served.json("show", film)["done"] >= 1, "a first segment")
    killed.kill()
    killed.communicate()
    worker()
    wait_for(lambda: served.json("show", film)["status"] == "delivered", "the film", 60)
    events = served.json("events", film)
    rendered = [event["segment"] for event in events if event["kind"] == "rendered"]
    assert rendered == [0, 1, 2, 3]


def test_a_database_that_is_killed_and_comes_back_costs_nothing_but_time(
    on_servers: Installation,
) -> None:
    binaries = system_binaries() or bundled_binaries()
    assert binaries
    database = PostgresServer(binaries)
    database.start()
    try:
        on_servers.environment["LONGREEL_DATABASE_URL"] = database.create_database()
        line = '{"prompt": "A red ball.", "seconds": 12, "steps": 4, "title": "Outage"}'
        (on_servers.home / "film.jsonl").write_text(line)
        film = on_servers.json("submit", "film.jsonl")["films"][0]["id"]
        worker = on_servers.start("worker", "--until-idle")
        for moment in (1, 3, 5):
            wait_for(lambda at=moment: on_servers.json("show", film)["done"] >= at, "segments")
            database.kill()
            time.sleep(2)
            database.start()
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        shown = on_servers.json("show", film)
        assert shown["status"] == "delivered"
        assert {segment["failures"] for segment in shown["segment_list"]} == {0}
    finally:
        database.close()


def test_a_segment_that_fails_every_time_fails_its_film_and_a_retry_mends_it(
    served: Installation, write: Callable[[str, str], Path]
) -> None:
    write("films.jsonl", '{"prompt": "A ball.", "seconds": 2, "steps": 2, "title": "Poisoned"}\n')
    film = served.json("submit", "films.jsonl")["films"][0]["id"]
    done = served.run("worker", "--until-idle", LONGREEL_FFMPEG="/bin/false")
    assert done.returncode == 0, done.stderr

    shown = served.json("show", film)
    assert shown["status"] == "failed"
    assert shown["segment_list"][0]["failures"] == 3
    errors = [event for event in served.json("events", film) if event["kind"] == "error"]
    assert len(errors) == 3
    assert all("Traceback" in event["detail"] for event in errors)

    assert served.json("requeue", film)[0]["status"] == "waiting"  # no worker is running
    assert served.run("worker", "--until-idle").returncode == 0
    assert served.json("show", film)["status"] == "delivered"


def test_waiting_ends_with_the_films_and_tells_how_they_ended(
    served: Installation,
    write: Callable[[str, str], Path],
    worker: Callable[[], subprocess.Popen[str]],
) -> None:
    write("c.csv", "prompt,seconds,steps\nA red ball.,2,2\nA blue ball.,2,2\n")
    waiting = served.start("submit", "c.csv", "--wait")
    wait_for(lambda: len(served.json("ls")) == 2, "the films")
    first, second = (film["id"] for film in served.json("ls"))
    served.json("cancel", second)
    worker()
    waiting.communicate(timeout=120)
    assert waiting.returncode == 3
    assert served.json("show", first)["status"] == "delivered"


def test_cancelling_the_flow_run_in_the_dashboard_cancels_the_film(
    served: Installation,
    prefect_api: str,
    write: Callable[[str, str], Path],
    worker: Callable[[], subprocess.Popen[str]],
) -> None:
    write("long.jsonl", '{"prompt": "A red ball.", "seconds": 90, "title": "Dashboard"}\n')
    film = served.json("submit", "long.jsonl")["films"][0]["id"]
    worker()
    wait_for(lambda: served.json("show", film)["done"] >= 1, "a first segment")
    os.environ["PREFECT_API_URL"] = prefect_api
    from prefect import get_client
    from prefect.client.schemas import filters
    from prefect.states import Cancelling

    with get_client(sync_client=True) as client:
        named = filters.FlowRunFilter(name=filters.FlowRunFilterName(any_=["Dashboard"]))
        (run,) = client.read_flow_runs(flow_run_filter=named)
        client.set_flow_run_state(run.id, Cancelling())
        wait_for(lambda: served.json("show", film)["status"] == "cancelled", "the film")

        def state() -> str | None:
            return client.read_flow_run(run.id).state_name

        wait_for(lambda: state() == "Cancelled", "the flow run")
