"""Content addresses: what moves them, and what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.families import MODELS
from film.identity import Identity, address
from film.plan import plan_film
from film.types import FilmRequest, Plan, RenderFlags, SceneRequest, Seam, to_json
from tests.film.making import HOUR, REVISION, a_request, a_script, addresses, few, of_scene, scripts

SOME = Identity(
    revision="r1",
    calling="c1",
    prompt="a fox",
    negative_prompt="",
    seed=7,
    rendered_size=(96, 64),
    film_size=(96, 64),
    fps=Fraction(8),
    num_frames=17,
    overlap_frames=5,
    keep_frames=12,
    tail_frames=5,
    num_inference_steps=16,
    guidance_scale=3.0,
    continues="ab",
)
OTHER: dict[str, Any] = {
    "revision": "r2",
    "calling": "c2",
    "prompt": "a fox ",
    "negative_prompt": "blur",
    "seed": 8,
    "rendered_size": (95, 64),
    "film_size": (96, 66),
    "fps": Fraction(8000, 1001),
    "num_frames": 21,
    "overlap_frames": 1,
    "keep_frames": 11,
    "tail_frames": 1,
    "num_inference_steps": 17,
    "guidance_scale": 3.5,
    "continues": None,
    "image": "ab",
    "last_image": "ab",
    "flags": RenderFlags(tiling=True),
    "loras": (("ab", 0.8, None),),
    "keyframes": (0, 8, 16),
    "keyframe": 0,
}


def plan(request: FilmRequest) -> Plan:
    return plan_film(request, REVISION, HOUR)


def test_every_field_has_a_test() -> None:
    assert OTHER.keys() == set(Identity.__struct_fields__)


@pytest.mark.parametrize("field", OTHER)
def test_every_field_moves_the_address(field: str) -> None:
    changed = SOME.replace(**{field: OTHER[field]})
    assert address(changed) != address(SOME)
    assert len(address(changed)) == 64


def test_the_address_stays_what_it_was_in_earlier_versions() -> None:
    # If this fails, the recipe of addresses changed: every film ever made is rendered again.
    assert address(SOME) == "5a6a982e67d6845b4b6e1bd76f4b5399e96822e0820e4e36c76fbabd3ce0375e"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"negative_prompt": "blur"},
        {"num_inference_steps": 17},
        {"guidance_scale": 4.0},
        {"fps": Fraction(9), "seconds": Fraction(160, 9)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_moves_every_address_of_a_film(change: dict[str, Any]) -> None:
    before, after = plan(a_request()), plan(a_request(**change))
    assert before.num_frames == after.num_frames
    assert not set(addresses(before)) & set(addresses(after))


def test_other_weights_move_every_address() -> None:
    other = plan_film(a_request(), "r2", HOUR)
    assert not set(addresses(plan(a_request()))) & set(addresses(other))


def test_how_a_model_is_called_moves_the_addresses_that_it_is_called_like_that_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wan = MODELS["wan2.1-t2v-1.3b"]
    request = a_request(model=wan.name)
    before = addresses(plan(request))

    def called_with(**changes: Any) -> list[str]:
        calling = wan.calling.replace(**changes)
        monkeypatch.setitem(MODELS, wan.name, wan.replace(calling=calling))
        return addresses(plan(request))

    for change in ({"scheduler": {"flow_shift": 4.5}}, {"arguments": {"guidance_scale_2": 2.0}}):
        assert not set(called_with(**change)) & set(before), change
    assert called_with(decodes_last=not wan.calling.decodes_last) == before
    more = {**wan.calling.pipelines, "first_last": "WanImageToVideoPipeline"}
    assert called_with(pipelines=more) == before, "no segment of it ends with a picture"


def test_sound_that_is_left_out_moves_none() -> None:
    loud, silent = (plan(a_request(model="ltx2", sound=sound)) for sound in (True, False))
    assert (loud.sound, silent.sound) == (True, False)
    assert addresses(loud) == addresses(silent)
    assert not plan(a_request()).sound, "its model makes none"


def test_the_title_moves_none() -> None:
    assert addresses(plan(a_request(title="Another"))) == addresses(plan(a_request()))


def test_a_changed_last_sentence_moves_its_scene_only() -> None:
    before = plan(a_request())
    after = plan(a_request(prompt="A fox wakes. It runs over a hill. Morning comes at last."))
    for scene in (0, 1):
        assert of_scene(before, scene) == of_scene(after, scene)
    assert not set(of_scene(before, 2)) & set(of_scene(after, 2))


@given(request=scripts(), data=st.data())
@few
def test_a_changed_scene_moves_what_is_chained_after_it_only(
    request: FilmRequest, data: st.DataObject
) -> None:
    changed = data.draw(st.integers(0, len(request.scenes) - 1))
    scenes = list(request.scenes)
    scenes[changed] = scenes[changed].replace(prompt="A purple triangle")
    before, after = plan(request), plan(request.replace(scenes=tuple(scenes)))
    moved = changed_run(request.scenes, changed)
    for scene in range(len(scenes)):
        old, new = of_scene(before, scene), of_scene(after, scene)
        if scene in moved:
            assert not set(old) & set(new)
        else:
            assert old == new


def changed_run(scenes: tuple[SceneRequest, ...], changed: int) -> list[int]:
    """`changed` and the scenes that continue it, one after another."""
    end = changed + 1
    while end < len(scenes) and scenes[end].seam is Seam.CONTINUE:
        end += 1
    return list(range(changed, end))


def test_the_same_work_in_two_films_has_one_address() -> None:
    one = a_script(SceneRequest(prompt="rain"), SceneRequest(prompt="sun"), title="one")
    two = a_script(SceneRequest(prompt="snow"), SceneRequest(prompt="rain"), title="two")
    assert of_scene(plan(one), 0) == of_scene(plan(two), 1)


IN_ANOTHER_PROCESS = """
import json
from film.reading.film import film_from_prompt
from film.plan import plan_film
from film.types import to_json
options = {"seconds": "7.3", "fps": "24000/1001"}
request = film_from_prompt("A fox wakes. 雨が降る。 It runs.", options)
print(json.dumps(to_json(plan_film(request, "r1", 3600.0))))
"""


def test_a_request_gives_the_same_plan_in_every_process() -> None:
    plans = {_planned_elsewhere(hash_seed) for hash_seed in ("0", "1")}
    assert len(plans) == 1
    assert '"24000/1001"' in plans.pop()


def _planned_elsewhere(hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@given(request=scripts())
@few
def test_planning_twice_gives_the_same(request: FilmRequest) -> None:
    assert to_json(plan(request)) == to_json(plan(request))
