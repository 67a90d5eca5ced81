"""Films with flags, from the command line to the take; and what a lost process leaves to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from db import segments
from db.engine import open_database
from tests.conftest import Installation
from tests.flows.test_workers import kinds, submit

pytestmark = pytest.mark.slow

FILM = '{{"prompt": "A red ball.", "seconds": 2, "steps": 3, "title": "Flags"{}}}'


def made_by(place: Installation, film: str) -> dict[str, Any]:
    """Of its only take."""
    database = open_database(f"sqlite:///{place.home / 'longreel.db'}")
    with database.read() as connection:
        (take,) = segments.takes_of(connection, film)
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
    served.run("worker", "--until-idle")
    assert served.json("show", film)["status"] != "delivered"
    errors = [event for event in served.json("events", film) if event["kind"] == "error"]
    assert "The attention 'sage' cannot be had on this worker" in errors[0]["message"]


LOST = """
import multiprocessing, os, sys, pathlib
if any("spawn_main" in word for word in sys.argv + sys.orig_argv):
    from diffusers import AutoencoderKLLTXVideo as Vae
    import renderer.demo.vae
"""


def test_a_process_that_dies_in_decoding_costs_a_decoding(
    served: Installation, tmp_path: Path
) -> None:
    ...
