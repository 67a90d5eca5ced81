"""From a request to a plan: scenes, chains of segments, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.demo_world import read_prompt
from film.errors import InputError
from film.families import DEMO
from film.plan import plan_film
from film.types import Continuity, FilmRequest, Plan, SceneRequest, Seam
from tests.film.making import HOUR, REVISION, a_request, a_script, addresses, few, scripts


def plan(request: FilmRequest, max_seconds: float = HOUR) -> Plan:
    return plan_film(request, REVISION, max_seconds)


@given(
    seconds=st.fractions(Fraction(1, 10), 300, max_denominator=1000),
    fps=st.sampled_from([Fraction(8), Fraction(24), Fraction(24000, 1001), Fraction(25, 2)]),
    sentences=st.integers(1, 40),
)
@few
def test_a_film_has_exactly_the_frames_asked_for(
    seconds: Fraction, fps: Fraction, sentences: int
) -> None:
    prompt = " ".join(f"Beat {number} happens." for number in range(sentences))
    made = plan(a_request(prompt=prompt, seconds=seconds, fps=fps))
    assert made.num_frames == max(1, int(seconds * fps + Fraction(1, 2)))
    assert sum(segment.keep_frames for segment in made.segments) == made.num_frames
    assert [scene.index for scene in made.scenes] == list(range(len(made.scenes)))


@given(request=scripts())
@few
def test_segments_form_a_chain_from_each_cut(request: FilmRequest) -> None:
    made = plan(request)
    rendered = {scene.index: 0 for scene in made.scenes}
    for number, segment in enumerate(made.segments):
        scene = made.scenes[segment.scene]
        first = rendered[segment.scene] == 0
        after_cut = first and scene.seam is Seam.CUT
        assert segment.index == number
        assert segment.continues == (None if after_cut else number - 1)
        assert (segment.overlap_frames == 0) == after_cut
        assert segment.prompt == read_prompt(scene.prompt).prompt
        rendered[segment.scene] += segment.keep_frames
    assert rendered == {scene.index: scene.num_frames for scene in made.scenes}


@given(request=scripts())
@few
def test_an_overlap_never_reaches_behind_the_last_cut(request: FilmRequest) -> None:
    made = plan(request)
    since_cut = 0
    for segment in made.segments:
        if segment.continues is None:
            since_cut = 0
        assert segment.overlap_frames <= min(since_cut, DEMO.overlap_frames)
        since_cut += segment.keep_frames


def test_an_hour_at_24_fps_is_planned_in_full() -> None:
    made = plan(a_request(seconds=Fraction(3600), fps=Fraction(24)))
    assert made.num_frames == 86_400
    # 3 scenes of 28,800 frames: 17, then 12 new ones a segment
    assert len(made.scenes) == 3
    assert len(made.segments) == 3 * 2400


def test_each_segment_of_a_scene_has_a_seed_of_its_own() -> None:
    made = plan(a_script(SceneRequest(prompt="a", seconds=Fraction(5), seed=2**31 - 1)))
    seeds = [segment.seed for segment in made.segments]
    assert seeds[:2] == [2**31 - 1, 2**31]
    assert len(set(seeds)) == len(seeds) > 2


def test_a_size_the_model_does_not_render_is_scaled_from_the_nearest_and_told() -> None:
    made = plan(a_request(width=640, height=360))
    assert (made.width, made.height, made.rendered_size) == (640, 360, (96, 64))
    assert made.notices[0] == (
        "The model 'demo' renders 96x64, which is scaled 6.67 times and loses 15.7% of its height "
        "for 640x360."
    )
    assert addresses(made) != addresses(plan(a_request()))
    with pytest.raises(InputError, match="cannot be encoded for every player: give even sides"):
        plan(a_request(width=101))


def test_segments_that_cut_depend_on_nothing() -> None:
    made = plan(a_request(continuity=Continuity.CUT))
    assert {segment.continues for segment in made.segments} == {None}
    assert len({segment.seed for segment in made.segments if segment.scene == 0}) > 1
    assert made.num_frames == 160


def test_a_film_and_its_scenes_choose_how_segments_follow_one_another() -> None:
    long = {"seconds": Fraction(5)}
    made = plan(
        a_script(
            SceneRequest(prompt="a", **long),
            SceneRequest(prompt="b", seam=Seam.CONTINUE, continuity=Continuity.LAST_FRAME, **long),
            SceneRequest(prompt="c", continuity=Continuity.CUT, **long),
            # The frames before it belong to one picture only as far back as the last segment.
            SceneRequest(prompt="d", seam=Seam.CONTINUE, **long),
        )
    )
    overlaps = [
        [segment.overlap_frames for segment in made.segments if segment.scene == scene]
        for scene in range(4)
    ]
    assert overlaps == [[0, 5, 5], [1, 1, 1], [0, 0, 0], [5, 5, 5, 5]]
    assert [segment.keep_frames for segment in made.segments if segment.scene == 2] == [14, 14, 12]
    with pytest.raises(InputError, match=r"Scene 2 of .* is to continue .* its continuity is cut"):
        plan(
            a_script(
                SceneRequest(prompt="a"),
                SceneRequest(prompt="b", seam=Seam.CONTINUE, continuity=Continuity.CUT),
            )
        )
    with pytest.raises(InputError, match="'demo' cannot follow on by native_long; it can by: tail"):
        plan(a_request(continuity=Continuity.NATIVE_LONG))


def test_a_model_that_cannot_continue_a_picture_says_how_often_it_changes() -> None:
    size = {"model": "wan2.1-t2v-1.3b", "width": 832, "height": 480, "fps": Fraction(16)}
    short = plan(a_script(SceneRequest(prompt="a"), SceneRequest(prompt="b"), **size))
    assert short.notices == ()
    (notice,) = plan(a_script(SceneRequest(prompt="a", seconds=Fraction(12)), **size)).notices
    assert notice == (
        "The model 'wan2.1-t2v-1.3b' cannot continue a picture: within scenes the picture changes "
        "2 times, because it renders at most 5.06 s at once."
    )


def test_a_model_that_renders_from_a_picture_is_given_one_or_refused() -> None:
    size = {"model": "wan2.2-i2v-14b", "width": 1280, "height": 720, "fps": Fraction(16)}
    picture, end = "ab" * 32, "cd" * 32
    long = SceneRequest(prompt="a", seconds=Fraction(9))
    with pytest.raises(InputError, match=r"renders from a picture, and a segment of scene 1"):
        plan(a_script(long, **size))
    made = plan(a_script(long, image=picture, last_image=end, **size))
    assert [(s.image, s.overlap_frames, s.last_image) for s in made.segments] == [
        (picture, 0, ""),
        ("", 1, end),
    ]
    assert addresses(made)[0] != addresses(plan(a_script(long, image=end, **size)))[0]
    with pytest.raises(
        InputError, match=r"'wan2.2-5b' takes no last picture: leave out the last_im"
    ):
        plan(a_script(long, last_image=end, **{**size, "model": "wan2.2-5b"}))
    with pytest.raises(InputError, match=r"'mochi' takes no picture: leave out scene 1"):
        plan(a_script(long, model="mochi", width=848, height=480, image=picture))
    continued = SceneRequest(prompt="b", seam=Seam.CONTINUE, image=picture)
    with pytest.raises(InputError, match=r"Scene 2 of .* leave out the image"):
        plan(a_script(long, continued))


def test_an_unknown_model_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no model 'nope'; the models are: .*demo"):
        plan(a_request(model="nope"))


def test_a_film_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        plan(a_request(seconds=Fraction(61)), max_seconds=60)
    assert str(refused.value) == (
        "'A fox' is 61 s long, and films of up to 60 s are accepted; shorten it, or raise "
        "LONGREEL_MAX_FILM_SECONDS."
    )


@pytest.mark.parametrize("fps", ["8", "24", "24000/1001", "30000/1001", "12.5"])
def test_a_film_exactly_as_long_as_the_limit_is_accepted(fps: str) -> None:
    made = plan(a_request(seconds=Fraction(3600), fps=Fraction(fps)))
    assert abs(made.seconds - 3600) < 0.03
    with pytest.raises(InputError):
        plan(a_request(seconds=Fraction(3601), fps=Fraction(fps)))


def test_another_rate_than_the_models_is_told() -> None:
    prompt = "A red ball rolls to the right over green grass under a blue sky."
    assert plan(a_request(prompt=prompt)).notices == ()
    (notice,) = plan(a_request(prompt=prompt, fps=Fraction(24))).notices
    assert notice == (
        "The model 'demo' was trained at 8 frames a second; at 24 its motion plays 3 times as fast."
    )


def test_a_scene_outside_the_models_world_is_told_and_rendered_as_the_nearest_in_it() -> None:
    inside = "A blue square grows on yellow sand under a pink sky"
    made = plan(a_script(SceneRequest(prompt=inside), SceneRequest(prompt="A ship at night")))
    nearest = "a red triangle rolls to the right over green grass under a night sky"
    assert made.notices == (
        "The model 'demo' knows only the words of docs/demo-model.md; the nearest are used.",
        f'Scene 2 is rendered as "{nearest}".',
    )
    assert [scene.prompt for scene in made.scenes] == [inside, "A ship at night"]
    assert {segment.prompt for segment in made.segments} == {inside, nearest}


@pytest.mark.parametrize(
    ("strange", "named"),
    [([2], "scene 2"), ([1, 2, 3], "scenes 1 to 3"), ([1, 3, 4], "scenes 1, 3 and 4")],
)
def test_scenes_of_which_no_word_is_understood_are_named(strange: list[int], named: str) -> None:
    scenes = [
        SceneRequest(
            prompt="海边的故事"
            if number in strange
            else "A blue square grows on sand under a pink sky"
        )
        for number in range(1, 5)
    ]
    assert plan(a_script(*scenes)).notices == (
        f"The model 'demo' understood no word of {named}, and shows its default picture; "
        f"docs/demo-model.md has its words.",
    )


@pytest.mark.parametrize(
    ("own", "whole", "frames"),
    [
        ([None, None], None, [32, 32]),  # 4 s each if no length is given
        ([None, None], 5, [20, 20]),
        ([2, None, None], 5, [16, 12, 12]),
        ([2, 3], 5, [16, 24]),
        ([Fraction(1, 3), None], None, [3, 32]),
    ],
)
def test_scenes_without_a_length_share_the_rest(
    own: list[int | None], whole: int | None, frames: list[int]
) -> None:
    scenes = [
        SceneRequest(prompt="x", seconds=None if length is None else Fraction(length))
        for length in own
    ]
    made = plan(a_script(*scenes, seconds=None if whole is None else Fraction(whole)))
    assert [scene.num_frames for scene in made.scenes] == frames


@pytest.mark.parametrize("own", [[2, 2], [6, None], [5, None]])
def test_scenes_that_contradict_the_films_length_are_refused(own: list[int | None]) -> None:
    scenes = [
        SceneRequest(prompt="x", seconds=None if length is None else Fraction(length))
        for length in own
    ]
    with pytest.raises(InputError, match=r"fill . s, which does not fit its 5 s"):
        plan(a_script(*scenes, seconds=Fraction(5)))


def test_a_scene_has_its_own_seed_or_the_films() -> None:
    made = plan(a_script(SceneRequest(prompt="a", seed=3), SceneRequest(prompt="b"), seed=9))
    assert [scene.seed for scene in made.scenes] == [3, 9]
