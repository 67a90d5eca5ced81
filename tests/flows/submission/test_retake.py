"""A film with other seeds for some scenes is the same film everywhere else."""

from __future__ import annotations

from fractions import Fraction

import pytest

from film.errors import InputError
from film.plan import plan_film
from film.reading.film import film_from_prompt
from film.types import FilmRequest, Plan, SceneRequest, Seam
from flows.submission.retake import retaken
from tests.film.making import a_script

PROMPT = "A red ball rolls. A blue square grows. A green ball stays."


def planned(request: FilmRequest) -> Plan:
    """The plan of a film."""
    return plan_film(request, "r1", 3600)


def addresses(plan: Plan, scene: int) -> list[str]:
    """Of the segments of a scene, counted from 1."""
    return [segment.address for segment in plan.segments if segment.scene == scene - 1]


def test_other_scenes_keep_the_addresses_of_their_segments() -> None:
    request = film_from_prompt(PROMPT, {"seconds": "47/4"})
    before = planned(request)
    after = planned(retaken(request, before, {2: 99}))
    assert [scene.num_frames for scene in after.scenes] == [
        scene.num_frames for scene in before.scenes
    ]
    assert after.scenes[1].seed == 99
    for scene in (1, 3):
        assert addresses(after, scene) == addresses(before, scene)
    assert set(addresses(after, 2)).isdisjoint(addresses(before, 2))


def test_without_a_new_seed_it_is_the_same_film() -> None:
    request = film_from_prompt(PROMPT, {"seconds": "12", "continuity": "keyframes"})
    before = planned(request)
    after = planned(retaken(request, before, {}))
    assert [s.address for s in after.segments] == [s.address for s in before.segments]


def test_a_scene_that_continues_a_changed_one_changes_too() -> None:
    script = a_script(
        SceneRequest(prompt="A ball.", seconds=Fraction(3)),
        SceneRequest(prompt="It turns.", seconds=Fraction(3), seam=Seam.CONTINUE),
        SceneRequest(prompt="A cube.", seconds=Fraction(3)),
    )
    before = planned(script)
    after = planned(retaken(script, before, {1: 5}))
    assert set(addresses(after, 2)).isdisjoint(addresses(before, 2))
    assert addresses(after, 3) == addresses(before, 3)


def test_a_scene_that_it_does_not_have_is_named() -> None:
    request = film_from_prompt(PROMPT, {"seconds": "12"})
    with pytest.raises(InputError, match="The film has no scene 4; it has 3 scenes"):
        retaken(request, planned(request), {4: 1})
