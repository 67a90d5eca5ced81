"""A film of which several processes render each segment together, from `longreel` to the take.

With tiny Wan weights of random numbers, on the CPU.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Installation
from tests.flows.test_film_flags import made_by
from tests.flows.test_workers import submit
from tests.renderer import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_a_worker_has_its_gpus_render_together_what_can_be(
    served: Installation, tmp_path: Path
) -> None:
    weights = tiny.build("wan-t2v", tmp_path)
    wan = {
        "prompt": "A red ball.",
        "seconds": 0.3,
        "steps": 2,
        "model": f"wan2.1-t2v-1.3b={weights}",
        "size": "256x256",
    }
    demo = {"prompt": "A red ball.", "seconds": 1, "steps": 2}
    films = submit(served, json.dumps(wan), json.dumps(demo))
    done = served.run("worker", "--until-idle", LONGREEL_FLAGS="context_parallel=2")
    assert done.returncode == 0, done.stderr
    assert [served.json("show", film)["status"] for film in films] == ["delivered"] * 2
    together, alone = (made_by(served, film) for film in films)
    assert together["flags"] == {"context_parallel": 2}
    assert together["rendered_together"] == 2
    assert alone["flags"] == {}
    assert "rendered_together" not in alone
