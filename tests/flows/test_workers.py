"""Workers as an operator has them: seen, commanded, broken, stalled, many on a machine."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from db.engine import open_database
from db.segments import takes
from db.tables import films
from tests.conftest import Installation
from tests.flows.test_campaign import wait_for

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(installation: Installation) -> Iterator[Start]:
    """Starts commands, which end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(installation.start(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.communicate(timeout=90)


def submit(place: Installation, *films: str) -> list[str]:
    """Films by their JSON; returns their ids."""
    (place.home / "films.jsonl").write_text("\n".join(films))
    return [film["id"] for film in place.json("submit", "films.jsonl")["films"]]


def worker(place: Installation, name: str) -> dict[str, Any]:
    """The row of a worker in `longreel workers`; empty if it does not list it."""
    return next((row for row in place.json("workers") if row["name"] == name), {})


def becomes(place: Installation, name: str, state: str) -> None:
    """Waits until a worker is in a state."""
    wait_for(lambda: worker(place, name).get("state") == state, f"{name} to be {state}")


def segments(place: Installation, film: str) -> list[dict[str, Any]]:
    return list(place.json("show", film)["segment_list"])


def kinds(place: Installation, film: str) -> list[str]:
    return [event["kind"] for event in place.json("events", film)]


def rendering_process(process: subprocess.Popen[str]) -> psutil.Process:
    """The child of a worker that renders, once there is one."""
    worker = psutil.Process(process.pid)
    found: list[psutil.Process] = []

    def look() -> bool:
        assert process.poll() is None, process.communicate()
        found[:] = [
            child
            for child in worker.children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
        return bool(found)

    wait_for(look, "a rendering process")
    return found[0]


def test_a_worker_is_seen_drained_stopped_and_resumed(served: Installation, start: Start) -> None:
    (film,) = submit(served, '{"prompt": "A red ball.", "seconds": 60, "title": "Long"}')
    start("worker", "--name", "gpu-01", "--tags", "fast,big")
    seen: dict[str, Any] = {}

    def look() -> bool:
        seen.update(worker(served, "gpu-01"))
        return bool(seen.get("step"))

    wait_for(look, "a step")
    assert seen["state"] == "rendering"
    assert (seen["film_id"], seen["steps"], seen["tags"]) == (film, 16, ["big", "fast"])
    assert seen["warm"].startswith("demo 96x64x17")
    refused = served.run("worker", "--name", "gpu-01", "--until-idle")
    assert refused.returncode == 2
    assert "A worker named 'gpu-01' is running already" in refused.stderr

    assert served.run("worker", "drain", "gpu-01").returncode == 0
    becomes(served, "gpu-01", "drained")
    drained = worker(served, "gpu-01")
    assert drained["segments_done"] >= 1
    assert drained["segments_per_hour"] > 0
    done = served.json("show", film)["done"]
    assert {part["status"] for part in segments(served, film)} == {"done", "ready", "waiting"}
    time.sleep(3)
    assert served.json("show", film)["done"] == done

    assert served.run("worker", "resume", "gpu-01").returncode == 0
    becomes(served, "gpu-01", "rendering")
    assert served.run("worker", "stop", "gpu-01").returncode == 0
    becomes(served, "gpu-01", "stopped")
    assert "leased" not in {part["status"] for part in segments(served, film)}
    assert {part["failures"] for part in segments(served, film)} == {0}
    assert not list((served.home / "scratch").glob("*/tmp*/*")), "half-work was left behind"
    unknown = served.run("worker", "drain", "gpu-02")
    assert unknown.returncode == 2
    assert "No worker named 'gpu-02' is running" in unknown.stderr


def test_a_worker_in_its_quiet_hours_claims_nothing(served: Installation, start: Start) -> None:
    (film,) = submit(served, '{"prompt": "A red ball.", "seconds": 2, "steps": 1}')
    now = datetime.now()
    hours = [f"{now + timedelta(hours=shift):%H:%M}" for shift in (-1, 1)]
    start("worker", "--name", "night", "--quiet", "-".join(hours))
    becomes(served, "night", "quiet")
    time.sleep(2)
    assert worker(served, "night")["quiet"] == "-".join(hours)
    assert segments(served, film)[0]["status"] == "ready"
    assert "night" in served.run("workers").stdout


def test_a_worker_that_fails_at_one_segment_after_another_drains_itself(
    served: Installation,
) -> None:
    made = submit(
        served,
        *(f'{{"prompt": "A ball.", "seconds": 2, "steps": 1, "seed": {n}}}' for n in range(4)),
    )
    broken = {"LONGREEL_FFMPEG": "/bin/false", "LONGREEL_SEGMENT_ATTEMPTS": "9"}
    done = served.run("worker", "--until-idle", "--name", "bad", **broken)
    assert done.returncode == 4, done.stderr
    assert "failed at 3 different segments one after another" in done.stderr
    said = worker(served, "bad")
    assert (said["state"], said["command"]) == ("ended", "drain")
    assert "the last error was: " in said["error"]
    happened = [kind for film in made for kind in kinds(served, film)]
    assert happened.count("drained") == 1
    assert happened.count("error") in (3, 4), "three, and one that was under way"

    done = served.run("worker", "--until-idle", "--name", "bad")
    assert done.returncode == 0, done.stderr
    assert {film["status"] for film in served.json("ls")} == {"delivered"}


def test_a_worker_for_one_segment_renders_one_and_makes_the_film_whole(
    served: Installation,
) -> None:
    def once(**more: str) -> tuple[int, str]:
        done = served.run("worker", "--once", "--name", "one", **more)
        return done.returncode, done.stderr.strip().splitlines()[-1]

    assert once() == (0, "There is nothing to render: no film is open.")
    submit(served, '{"prompt": "A ball.", "seconds": 2, "steps": 1, "tags": "big"}')
    assert once() == (0, "There is nothing to render now.")
    (film,) = submit(served, '{"prompt": "A ball.", "seconds": 3, "steps": 1}')
    code, said = once(LONGREEL_FFMPEG="/bin/false")
    assert (code, said) == (1, "The segment was not rendered; `longreel events ID` shows why.")
    assert [part["failures"] for part in segments(served, film)] == [1, 0]

    assert once()[0] == 0
    assert [part["status"] for part in segments(served, film)] == ["done", "ready"]
    assert worker(served, "one")["segments_done"] == 1
    assert once()[0] == 0
    assert served.json("show", film)["status"] == "delivered"
    assert once() == (0, "There is nothing to render now.")


def test_a_bad_picture_is_taken_again_with_other_seeds_and_then_fails_alone(
    served: Installation,
) -> None:
    bad, good = submit(
        served,
        '{"prompt": "A ball.", "seconds": 2, "steps": 2, "seed": 5, "guidance_scale": 77}',
        '{"prompt": "A ball.", "seconds": 2, "steps": 2}',
    )
    # Far beyond what a campaign file may ask for: the latents overflow.
    database = open_database(f"sqlite:///{served.home / 'longreel.db'}")
    with database.write() as connection:
        wrong = sa.func.replace(sa.cast(films.c.request, sa.Text), "77.0", "1e38")
        connection.execute(
            films.update().where(films.c.id == bad).values(request=sa.type_coerce(wrong, sa.Text))
        )
    database.close()
    done = served.run("worker", "--until-idle")
    assert done.returncode == 0, done.stderr
    assert served.json("show", good)["status"] == "delivered"
    assert served.json("show", bad)["status"] == "failed"
    events = served.json("events", bad)
    retakes = [event["message"] for event in events if event["kind"] == "retake"]
    assert [message.partition(":")[0] for message in retakes] == [
        "Segment 1, retake 1",
        "Segment 1, retake 2",
    ]
    assert "seed 5." in retakes[0]
    assert "seed 1000008." in retakes[1]
    (error,) = [event for event in events if event["kind"] == "error"]
    assert "not finite for seed 2000011." in error["message"]
    assert "Traceback" in error["detail"]


# What a broken memory or driver does now and then: the noise of one seed is not a number.
BAD_NOISE = """
import sys
if any("spawn_main" in argument for argument in sys.orig_argv):
    import torch
    _randn = torch.randn
    def randn(*size, generator=None, **more):
        noise = _randn(*size, generator=generator, **more)
        spoilt = generator is not None and generator.initial_seed() == 5
        return noise.fill_(float("nan")) if spoilt else noise
    torch.randn = randn
"""


def test_a_retake_that_is_good_is_delivered_as_what_its_own_seed_gives(
    served: Installation, tmp_path: Path
) -> None:
    film = '{{"prompt": "A red ball.", "seconds": 2, "steps": 2, "seed": {}}}'
    spoilt, asked = submit(served, film.format(5), film.format(5 + 1_000_003))
    (tmp_path / "sitecustomize.py").write_text(BAD_NOISE)
    done = served.run("worker", "--until-idle", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [served.json("show", film)["status"] for film in (spoilt, asked)] == ["delivered"] * 2
    assert kinds(served, spoilt).count("retake") == 1
    assert "error" not in kinds(served, spoilt)

    database = open_database(f"sqlite:///{served.home / 'longreel.db'}")
    with database.read() as connection:
        retaken, plain = (takes.of_film(connection, film)[0] for film in (spoilt, asked))
    database.close()
    assert (retaken.made_by["retake"], retaken.made_by["seed"]) == (1, 1_000_008)
    assert "retake" not in plain.made_by
    assert retaken.address != plain.address
    assert retaken.sha256 == plain.sha256


def test_a_rendering_process_that_stands_still_is_replaced(
    served: Installation, start: Start
) -> None:
    served.environment["LONGREEL_STALL_SECONDS"] = "3"
    (film,) = submit(served, '{"prompt": "A red ball.", "seconds": 8, "title": "Stalled"}')
    stalled = rendering_process(start("worker", "--name", "still"))
    wait_for(lambda: bool(worker(served, "still").get("step")), "a step")
    stalled.suspend()
    wait_for(lambda: not stalled.is_running(), "the process to be ended")
    wait_for(lambda: served.json("show", film)["status"] == "delivered", "the film")
    (error,) = [event for event in served.json("events", film) if event["kind"] == "error"]
    assert "stalled: made no step and used no processor for 3 s" in error["message"]
    assert worker(served, "still")["failures"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
def test_work_that_a_worker_has_too_little_memory_for_is_left_to_others(
    served: Installation, start: Start
) -> None:
    (film,) = submit(served, '{"prompt": "A red ball.", "seconds": 60, "steps": 100}')
    small = rendering_process(start("worker", "--name", "small"))
    wait_for(lambda: 0 < (worker(served, "small").get("step") or 0) < 70, "one of the first steps")
    resource.prlimit(small.pid, resource.RLIMIT_AS, (2**20, resource.RLIM_INFINITY))
    wait_for(lambda: "error" in kinds(served, film), "an error")
    (error,) = [event for event in served.json("events", film) if event["kind"] == "error"]
    assert "has too little memory for 17 frames of 96x64" in error["message"]
    becomes(served, "small", "idle")
    done = served.json("show", film)["done"]
    start("worker", "--name", "large")
    wait_for(lambda: served.json("show", film)["done"] > done, "another worker to render it")
    assert worker(served, "small")["state"] == "idle"
    assert worker(served, "small")["command"] is None, "too little memory is no broken worker"


SKEWED = """
import time
_real = time.time
time.time = lambda: _real() {shift}
"""


def test_a_worker_whose_clock_is_wrong_does_no_harm(served: Installation, tmp_path: Path) -> None:
    made = submit(
        served,
        *(f'{{"prompt": "A ball.", "seconds": 2, "steps": 4, "seed": {n}}}' for n in range(6)),
    )
    running = []
    for name, shift in (("early", "- 3600"), ("late", "+ 3600"), ("right", "")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SKEWED.format(shift=shift))
        path = os.pathsep.join([str(folder), *sys.path])
        place = Installation(served.home, {**served.environment, "PYTHONPATH": path})
        running.append(place.start("worker", "--until-idle", "--name", name))
    for process in running:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    for film in made:
        happened = kinds(served, film)
        assert happened.count("rendered") == 1
        assert "error" not in happened
        assert served.json("show", film)["status"] == "delivered"
    assert {row["state"] for row in served.json("workers")} == {"ended"}


def test_several_processes_on_one_machine_are_kept_running_and_end_together(
    served: Installation, start: Start
) -> None:
    parent = start("worker", "--processes", "2", "--name", "many")
    for name in ("many-0", "many-1"):
        becomes(served, name, "idle")
    first = int(worker(served, "many-0")["owner"].split("/")[2])
    os.kill(first, signal.SIGKILL)
    wait_for(
        lambda: (
            worker(served, "many-0")["owner"].split("/")[2] != str(first)
            and worker(served, "many-0")["state"] == "idle"
        ),
        "another process",
    )
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=60) == 0
    assert {row["state"] for row in served.json("workers")} == {"ended"}


def test_several_processes_end_by_themselves_where_nothing_is_left(served: Installation) -> None:
    (film,) = submit(served, '{"prompt": "A ball.", "seconds": 2, "steps": 1}')
    done = served.run("worker", "--until-idle", "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert "died" not in done.stderr
    assert served.json("show", film)["status"] == "delivered"


def test_workers_end_when_the_process_that_started_them_is_killed(
    served: Installation, start: Start
) -> None:
    parent = start("worker", "--processes", "2", "--name", "left")
    for name in ("left-0", "left-1"):
        becomes(served, name, "idle")
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert {row["state"] for row in served.json("workers")} == {"ended"}


def test_up_starts_all_of_it_and_takes_all_of_it_down(
    installation: Installation, start: Start
) -> None:
    running = start("up", "--workers", "1")
    assert running.stderr
    wait_for(lambda: [row["state"] for row in installation.json("workers")] == ["idle"], "a worker")
    (film,) = submit(installation, '{"prompt": "A ball.", "seconds": 2, "steps": 1}')
    wait_for(lambda: installation.json("show", film)["status"] == "delivered", "the film")
    everyone = psutil.Process(running.pid).children(recursive=True)
    assert everyone
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=90)
    assert running.returncode == 0, said
    assert "Dashboard: http://127.0.0.1:" in said
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert not alive
    assert (
        installation.run("dashboard", "--stop").stderr.strip() == "No embedded server is running."
    )


def test_gpus_that_are_not_there_are_refused(installation: Installation) -> None:
    done = installation.run("worker", "--gpus", "0,7", CUDA_VISIBLE_DEVICES="0,1")
    assert done.returncode == 2
    assert "There is no GPU 7 on this machine; those that can be used: 0, 1." in done.stderr
