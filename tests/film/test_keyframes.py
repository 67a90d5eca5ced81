"""Scenes between keyframes, and those that end with a picture: exact for any length and model."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import InputError
from film.families import DEMO, MODELS
from film.keyframes import ending_exactly, frames_behind, keyframe_spans
from film.models import ModelSpec
from film.plan import plan_film
from film.timeline import Span, following, split_scene
from film.types import Continuity, FilmRequest, Plan, SceneRequest, Seam
from tests.film.making import HOUR, REVISION, a_script, addresses, few, lengths, of_scene, specs

KEYFRAMES = Continuity.KEYFRAMES
FIRST, LAST = "ab" * 32, "cd" * 32
WAN: dict[str, Any] = {"width": 1280, "height": 720, "fps": Fraction(16)}


@st.composite
def pinned(draw: st.DrawFn) -> ModelSpec:
    """Any model that renders between two pictures, as its segments see it."""
    spec = draw(specs())
    calling = spec.calling.replace(ends_anywhere=draw(st.booleans()))
    longest = max(spec.max_frames, spec.frame_step + 1)
    spec = spec.replace(calling=calling, echoes=True, max_frames=longest)
    return following(spec, KEYFRAMES)


@given(num_frames=lengths, spec=pinned(), continued=st.booleans())
@few
def test_a_scene_has_its_frames_and_each_segment_a_length_of_the_model(
    num_frames: int, spec: ModelSpec, continued: bool
) -> None:
    spans = keyframe_spans(num_frames, spec, continued=continued)
    shown = [span for span in spans if not span.keyframes]
    assert sum(span.keep_frames for span in spans) == num_frames
    assert all(span.keep_frames > 0 for span in shown)
    for span in spans:
        assert (span.num_frames - 1) % spec.frame_step == 0
        assert spec.min_frames <= span.num_frames <= spec.max_frames
    assert (len(spans) == 1) == (num_frames + continued <= spec.max_frames)
    assert len(shown) == max(1, -(-(num_frames - 1 + continued) // (spec.max_frames - 1)))


@given(num_frames=lengths, spec=pinned(), continued=st.booleans())
@few
def test_each_segment_ends_with_the_keyframe_that_the_next_begins_with(
    num_frames: int, spec: ModelSpec, continued: bool
) -> None:
    anchor, *shown = keyframe_spans(num_frames, spec, continued=continued)
    if not shown:
        return
    assert (anchor.keep_frames, anchor.overlap_frames) == (0, int(continued))
    assert [span.keyframe for span in shown] == list(range(len(shown)))
    assert [span.overlap_frames for span in shown] == [int(continued)] + [1] * (len(shown) - 1)
    for span in shown[:-1]:
        assert span.num_frames == span.overlap_frames + span.keep_frames
    behind = frames_behind(shown[-1], spec)
    assert behind >= 0
    assert behind < spec.frame_step or shown[-1].num_frames == spec.min_frames
    if spec.calling.ends_anywhere:
        assert behind == 0


@given(num_frames=lengths, spec=pinned(), continued=st.booleans())
@few
def test_keyframes_lie_in_the_anchor_as_they_do_in_the_scene(
    num_frames: int, spec: ModelSpec, continued: bool
) -> None:
    anchor, *shown = keyframe_spans(num_frames, spec, continued=continued)
    if not shown:
        return
    steps = [span.num_frames - 1 for span in shown]
    if spec.calling.ends_anywhere:
        steps[-1] = shown[-1].overlap_frames + shown[-1].keep_frames - 1
    marks = list(itertools.accumulate(steps, initial=0))
    assert len(anchor.keyframes) == len(marks) == len(shown) + 1
    assert anchor.keyframes[0] == 0
    assert anchor.keyframes[-1] == anchor.num_frames - 1 == spec.max_frames - 1
    for mark, keyframe in zip(marks, anchor.keyframes, strict=True):
        exact = Fraction(mark * (spec.max_frames - 1), marks[-1])
        assert abs(keyframe - exact) <= Fraction(1, 2)


@given(num_frames=lengths, spec=pinned(), ways=st.sampled_from(["cut", "last_frame"]))
@few
def test_a_last_picture_is_the_end_of_the_film_where_there_is_a_segment_before_it(
    num_frames: int, spec: ModelSpec, ways: str
) -> None:
    seen = following(spec, Continuity(ways))
    spans = split_scene(num_frames, seen)
    ending = ending_exactly(spans, seen)
    assert [span.overlap_frames for span in ending] == [span.overlap_frames for span in spans]
    assert sum(span.keep_frames for span in ending) == num_frames
    for span in ending:
        assert (span.num_frames - 1) % spec.frame_step == 0
        assert spec.min_frames <= span.num_frames <= spec.max_frames
        assert 0 < span.keep_frames <= span.num_frames - span.overlap_frames
    room = spans[-2].keep_frames - frames_behind(spans[-1], seen) if len(spans) > 1 else 0
    if room >= 1:
        assert frames_behind(ending[-1], seen) == 0
    else:
        assert ending == spans


def test_the_demo_model_fills_a_scene_as_documented() -> None:
    assert keyframe_spans(40, following(DEMO, KEYFRAMES), continued=False) == [
        Span(num_frames=17, overlap_frames=0, keep_frames=0, keyframes=(0, 5, 11, 16)),
        Span(num_frames=17, overlap_frames=0, keep_frames=17, keyframe=0),
        Span(num_frames=17, overlap_frames=1, keep_frames=16, keyframe=1),
        Span(num_frames=17, overlap_frames=1, keep_frames=7, keyframe=2),
    ]


def test_who_renders_between_keyframes_renders_from_two_pictures_and_echoes_the_first() -> None:
    rows = [spec for spec in MODELS.values() if KEYFRAMES in spec.continuity]
    assert {spec.name for spec in rows} >= {"demo", "ltx", "ltx2", "wan2.2-i2v-14b"}
    assert all(spec.takes(1, last=True) and spec.echoes for spec in rows)
    assert {spec.name for spec in MODELS.values() if spec.takes(1, last=True)} == {
        spec.name for spec in rows
    }


# -- plans -------------------------------------------------------------------------------------


def plan(request: FilmRequest) -> Plan:
    return plan_film(request, REVISION, HOUR)


def a_scene(prompt: str, seconds: float, **more: Any) -> SceneRequest:
    return SceneRequest(prompt=prompt, seconds=Fraction(seconds), continuity=KEYFRAMES, **more)


def test_all_segments_wait_for_the_anchor_and_none_for_another() -> None:
    made = plan(a_script(a_scene("a", 5), a_scene("b", 5)))
    assert [segment.continues for segment in made.segments] == [None, 0, 0, 0, None, 4, 4, 4]
    assert [bool(segment.keyframes) for segment in made.segments] == [True, *[False] * 3] * 2
    assert [segment.keep_frames for segment in made.shown] == [17, 16, 7] * 2
    assert [segment.seed for segment in made.segments][:4] == [7, 8, 9, 10]
    assert made.num_frames == 80


def test_a_scene_that_fits_one_segment_needs_no_anchor() -> None:
    (segment,) = plan(a_script(a_scene("a", 2))).segments
    (cut,) = plan(a_script(SceneRequest(prompt="a", seconds=Fraction(2)))).segments
    assert segment == cut


def test_a_scene_between_keyframes_continues_and_is_continued() -> None:
    tail = Continuity.TAIL_WINDOW
    made = plan(
        a_script(
            SceneRequest(prompt="a", seconds=Fraction(2)),
            a_scene("b", 4.25, seam=Seam.CONTINUE),
            SceneRequest(prompt="c", seconds=Fraction(2), seam=Seam.CONTINUE, continuity=tail),
        )
    )
    assert [(s.continues, s.overlap_frames, s.keep_frames) for s in made.segments] == [
        (None, 0, 16),
        (0, 1, 0),  # the anchor: its first frame is the last one before it
        (1, 1, 16),
        (1, 1, 16),
        (1, 1, 2),
        # Two frames and the keyframe before them are in the tail: one window of the rule fits.
        (4, 1, 16),
    ]


def test_the_scenes_pictures_are_the_anchors() -> None:
    scene = a_scene("a", 12, image=FIRST, last_image=LAST)
    made = plan(a_script(scene, model="wan2.1-flf2v-14b", **WAN))
    anchor, *shown = made.segments
    assert (anchor.image, anchor.last_image, anchor.num_frames) == (FIRST, LAST, 81)
    assert {(segment.image, segment.last_image) for segment in shown} == {("", "")}
    assert made.notices == (
        "Scene 1 ends 1 frame before its last picture, because the model 'wan2.1-flf2v-14b' "
        "renders lengths of 4k+1 frames: with 193 frames it would end with it.",
    )
    exact = scene.replace(seconds=Fraction(193, 16))
    assert plan(a_script(exact, model="wan2.1-flf2v-14b", **WAN)).notices == ()


def test_a_model_that_renders_from_two_pictures_only_says_so() -> None:
    made = {"model": "wan2.1-flf2v-14b", **WAN}
    two = "from a first and a last picture, and a segment of scene 1 of 'A fox' has none: give it"
    with pytest.raises(InputError, match=f"{two} image and last_image"):
        plan(a_script(a_scene("a", 12), **made))
    with pytest.raises(InputError, match=f"{two} image and last_image"):
        plan(a_script(a_scene("a", 12, last_image=LAST), **made))
    with pytest.raises(InputError, match=f"{two} a last_image"):
        plan(a_script(a_scene("a", 12, image=FIRST), **made))
    short = SceneRequest(prompt="a", seconds=Fraction(81, 16), image=FIRST, last_image=LAST)
    assert len(plan(a_script(short, **made)).segments) == 1
    with pytest.raises(InputError, match=r"'wan2.2-i2v-14b' renders from a picture.*an image\.$"):
        plan(a_script(a_scene("a", 12), **{**made, "model": "wan2.2-i2v-14b"}))


def test_a_last_picture_is_reached_by_moving_frames_to_the_segment_before() -> None:
    scene = SceneRequest(prompt="a", seconds=Fraction(9), image=FIRST, last_image=LAST)
    made = plan(a_script(scene, model="wan2.2-i2v-14b", **WAN))
    assert made.notices == ()
    assert [(s.num_frames, s.keep_frames) for s in made.segments] == [(73, 72), (73, 72)]
    single = scene.replace(seconds=Fraction(5))
    (notice,) = plan(a_script(single, model="wan2.2-i2v-14b", **WAN)).notices
    assert notice.startswith("Scene 1 ends 1 frame before its last picture")
    vace = plan(a_script(single, model="wan2.1-vace-14b", **WAN))
    assert vace.notices == ()


def test_a_scene_too_long_for_one_anchor_is_refused() -> None:
    assert len(plan(a_script(a_scene("a", 32))).segments) == 17
    with pytest.raises(InputError) as refused:
        plan(a_script(a_scene("a", 33)))
    assert str(refused.value) == (
        "Scene 1 of 'A fox' is too long for the continuity keyframes, which 'demo' takes from one "
        "rendering of 17 frames: let it be at most 32 s, or choose another continuity."
    )


def test_a_changed_scene_moves_no_address_of_an_earlier_one_and_all_of_its_own() -> None:
    before = plan(a_script(a_scene("a", 5), a_scene("b", 5), a_scene("c", 5)))
    after = plan(a_script(a_scene("a", 5), a_scene("A blue box", 5), a_scene("c", 5)))
    assert len(set(addresses(before)[:4])) == 4
    assert of_scene(before, 0) == of_scene(after, 0)
    assert of_scene(before, 2) == of_scene(after, 2)
    assert not set(of_scene(before, 1)) & set(of_scene(after, 1))
    longer = plan(a_script(a_scene("a", 5), a_scene("b", 7), a_scene("c", 5)))
    assert of_scene(before, 0) == of_scene(longer, 0)
    assert not set(of_scene(before, 1)) & set(of_scene(longer, 1))


def test_segments_of_one_length_and_seed_differ_by_their_keyframes() -> None:
    made = plan(a_script(a_scene("a", 6.125)))
    same = {
        segment.replace(index=0, seed=0, address="", keyframe=0) for segment in made.segments[2:]
    }
    assert len(same) == 1
    assert len({segment.address for segment in made.segments[2:]}) == 2
