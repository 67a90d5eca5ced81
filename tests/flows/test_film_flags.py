"""Films with flags, from the command line to the take; and what a lost process leaves behind."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from db.engine import open_database
from db.segments import takes
from film.families import DEMO
from film.types import RenderFlags, RenderJob, from_json
from renderer.process import messages
from renderer.protocol import Setup
from renderer.weights import weight_store
from tests.conftest import Installation
from tests.flows.test_workers import submit
from tests.jobs import a_job
from tests.renderer.preloaded import start_rendering

pytestmark = pytest.mark.slow

FILM = '{{"prompt": "A red ball.", "seconds": 2, "steps": 3, "title": "Flags"{}}}'


def made_by(place: Installation, film: str) -> dict[str, Any]:
    """The record of its only take."""
    database = open_database(f"sqlite:///{place.home / 'longreel.db'}")
    with database.read() as connection:
        (take,) = takes.of_film(connection, film)
    database.close()
    return take.made_by


def test_a_film_is_rendered_with_its_flags_and_its_take_says_so(served: Installation) -> None:
    flags = ', "flags": {"quantisation": "int8", "cache": "taylorseer", "cache_interval": 2}'
    plain, fast = submit(served, FILM.format(""), FILM.format(flags))
    done = served.run("worker", "--until-idle", LONGREEL_FLAGS="attention=_native_math")
    assert done.returncode == 0, done.stderr
    assert [served.json("show", film)["status"] for film in (plain, fast)] == ["delivered"] * 2
    assert made_by(served, plain)["flags"] == {"attention": "_native_math"}
    assert made_by(served, fast)["flags"] == {
        "quantisation": "int8",
        "cache": "taylorseer",
        "cache_interval": 2,
        "attention": "_native_math",
    }
    assert made_by(served, fast)["torchao"]
    # On the command line: the same film, rendered before.
    options = [word for flag in ("quantisation=int8", "cache=taylorseer", "cache_interval=2")
               for word in ("--flag", flag)]  # fmt: skip
    again = served.json(
        "render", "A red ball.", "--seconds", "2", "--steps", "3", *options, "-o", "a.mp4"
    )
    assert again["rendered"] == 0


def test_a_flag_that_no_worker_has_ends_in_a_sentence(served: Installation) -> None:
    (film,) = submit(served, FILM.format(', "flags": "attention=sage"'))
    served.run("worker", "--until-idle", LONGREEL_SEGMENT_ATTEMPTS="1")
    assert served.json("show", film)["status"] == "failed"
    errors = [event for event in served.json("events", film) if event["kind"] == "error"]
    assert "The attention 'sage' cannot be had on this worker" in errors[0]["message"]


DIES_ONCE = """
import os, pathlib, sys
if "spawn_main" in " ".join(sys.orig_argv):
    from renderer.pipeline.vae_decoding import Decoding
    decode = Decoding._decode_saving
    def die_once(self, *values, **named):
        marker = pathlib.Path(os.environ["DIED"])
        if not marker.exists():
            marker.touch()
            os._exit(9)
        return decode(self, *values, **named)
    Decoding._decode_saving = die_once
"""


def test_a_process_that_dies_in_decoding_costs_a_decoding(
    served: Installation, tmp_path: Path
) -> None:
    lost, whole = submit(served, *(FILM.format(f', "seed": {seed}') for seed in (5, 6)))
    (tmp_path / "sitecustomize.py").write_text(DIES_ONCE)
    done = served.run(
        "worker", "--until-idle", PYTHONPATH=str(tmp_path), DIED=str(tmp_path / "died")
    )
    assert done.returncode == 0, done.stderr
    assert [served.json("show", film)["status"] for film in (lost, whole)] == ["delivered"] * 2
    assert "died (exit code 9)" in str(served.json("events", lost))
    assert made_by(served, lost)["latents"] == "kept from an attempt before"
    assert "latents" not in made_by(served, whole)
    assert not list((served.home / "latents").iterdir()), "what is stored is not kept any more"

    # The same bytes as an installation gives that lost nothing.
    again = Installation(tmp_path / "again", {**served.environment})
    again.home.mkdir()
    again.environment["LONGREEL_HOME"] = str(again.home)
    (other,) = submit(again, FILM.format(', "seed": 5'))
    assert again.run("worker", "--until-idle").returncode == 0
    films = [place.json("show", film) for place, film in ((served, lost), (again, other))]
    assert films[0]["delivery"]["sha256"] == films[1]["delivery"]["sha256"]


def test_what_a_take_says_renders_the_same_bytes_again(
    served: Installation, tmp_path: Path
) -> None:
    (film,) = submit(
        served,
        '{"prompt": "A red ball rolls.", "seconds": 3, "steps": 4, "size": "48x32",'
        ' "flags": {"cache": "first_block", "cache_threshold": 0.2}}',
    )
    assert served.run("worker", "--until-idle").returncode == 0
    shown = served.json("show", film)
    first, second = (segment["made_by"] for segment in shown["segment_list"])
    assert (second["overlap_frames"], second["threads"]) == (5, 1)
    assert second["denoise_seconds"] > 0 < second["peak_memory_bytes"]

    rendering = start_rendering(
        DEMO, Setup(folder=weight_store.folder_of(DEMO, "", Path()), threads=1)
    )
    made = []
    for number, record in enumerate((first, second)):
        folder = tmp_path / str(number)
        folder.mkdir()
        before = str(tmp_path / "0" / "tail.mkv")
        job = job_of(record, before if record["overlap_frames"] else None)
        result = rendering.begin(job, folder)
        while not isinstance(message := result.receive(120), messages.Done):
            assert not isinstance(message, messages.Failed), message
        made.append(hashlib.sha256((folder / "video.mp4").read_bytes()).hexdigest())
    rendering.kill()
    database = open_database(f"sqlite:///{served.home / 'longreel.db'}")
    with database.read() as connection:
        assert made == [take.sha256 for take in takes.of_film(connection, film)]
    database.close()


def job_of(record: dict[str, Any], tail: str | None) -> RenderJob:
    """The job that a take's record describes, and nothing else."""
    width, height = map(int, record["rendered_size"].split("x"))
    film_width, film_height = map(int, record["film_size"].split("x"))
    same = ("model", "revision", "prompt", "negative_prompt", "seed", "num_frames")
    same += ("num_inference_steps", "guidance_scale", "overlap_frames", "keep_frames")
    return a_job(
        segment_id=1,
        attempt=1,
        width=width,
        height=height,
        film_size=(film_width, film_height),
        fps=Fraction(record["fps"]),
        tail_frames=DEMO.overlap_frames,
        tail=tail,
        flags=from_json(RenderFlags, record["flags"]),
        **{name: record[name] for name in same},
    )
