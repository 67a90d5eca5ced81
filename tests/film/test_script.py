"""Lengths of a script's scenes: whole frames that add up, and what is refused."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import InputError
from film.families import DEMO
from film.plan import plan_film
from film.planning import draft_scenes
from film.timeline import frame_count
from film.types import SceneRequest
from tests.film.making import HOUR, REVISION, a_script, addresses, few

rates = st.sampled_from([Fraction(8), Fraction(24), Fraction(24000, 1001), Fraction(25, 2)])
some_seconds = st.one_of(
    st.decimals(Fraction(1, 100), 9, places=2).map(Fraction),
    st.fractions(Fraction(1, 50), 9, max_denominator=1001),
)
Lengths = list[Fraction | None]


def frames_of(lengths: Lengths, whole: Fraction | None, fps: Fraction) -> list[int]:
    """Frames of the scenes of `lengths` in a film of `whole` seconds."""
    scenes = [SceneRequest(prompt="x", seconds=seconds) for seconds in lengths]
    script = a_script(*scenes, seconds=whole, fps=fps)
    return [scene.num_frames for scene in draft_scenes(script, DEMO)]


def length_of(lengths: Lengths) -> Fraction:
    return sum((seconds or Fraction(0) for seconds in lengths), Fraction(0))


@given(lengths=st.lists(some_seconds, min_size=1, max_size=12), fps=rates)
@few
def test_scenes_fill_the_film_to_the_frame_each_within_one_of_its_length(
    lengths: Lengths, fps: Fraction
) -> None:
    whole = length_of(lengths)
    try:
        frames = frames_of(lengths, whole, fps)
    except InputError:
        assert any(seconds * fps < 1 for seconds in lengths if seconds)
        return
    assert min(frames) > 0
    assert sum(frames) == frame_count(whole, fps)
    for number, seconds in zip(frames, lengths, strict=True):
        assert abs(number - (seconds or 0) * fps) < 1


@given(lengths=st.lists(some_seconds, min_size=1, max_size=12), fps=rates)
@few
def test_no_scene_has_to_do_with_anothers_length_where_the_film_has_none(
    lengths: Lengths, fps: Fraction
) -> None:
    alone = [frame_count(seconds, fps) for seconds in lengths if seconds]
    assert frames_of(lengths, None, fps) == alone
    assert frames_of(lengths, sum(alone) / fps, fps) == alone, "nor where they fill it like that"


@given(whole=some_seconds, count=st.integers(1, 40), fps=rates)
@few
def test_equal_scenes_always_fit_the_film_that_they_were_divided_from(
    whole: Fraction, count: int, fps: Fraction
) -> None:
    whole = max(whole, count / fps)
    frames = frames_of([whole / count] * count, whole, fps)
    assert sum(frames) == frame_count(whole, fps)
    assert max(frames) - min(frames) <= 1


@given(
    lengths=st.lists(st.none() | some_seconds, min_size=1, max_size=10),
    rest=some_seconds,
    fps=rates,
)
@few
def test_scenes_without_a_length_share_what_is_left_evenly(
    lengths: Lengths, rest: Fraction, fps: Fraction
) -> None:
    lengths = [None, *(seconds and max(seconds, 1 / fps) for seconds in lengths)]
    others = lengths.count(None)
    share = max(rest, 8 / fps)  # in addition to what rounding the others takes
    whole = length_of(lengths) + share * others
    frames = frames_of(lengths, whole, fps)
    assert sum(frames) == frame_count(whole, fps)
    shares = [number for number, seconds in zip(frames, lengths, strict=True) if seconds is None]
    assert max(shares) - min(shares) <= 1
    for number, seconds in zip(frames, lengths, strict=True):
        assert seconds is None or abs(number - seconds * fps) < 1


@given(
    lengths=st.lists(some_seconds, min_size=1, max_size=12),
    whole=some_seconds,
    fps=rates,
)
@few
def test_lengths_contradict_the_films_where_they_are_a_frame_off(
    lengths: Lengths, whole: Fraction, fps: Fraction
) -> None:
    lengths = [max(seconds, 1 / fps) for seconds in lengths if seconds]
    total = frame_count(whole, fps)
    alone = sum(frame_count(seconds, fps) for seconds in lengths if seconds)
    if abs(length_of(lengths) * fps - total) < 1 or alone == total:
        assert sum(frames_of(lengths, whole, fps)) == total
        return
    with pytest.raises(InputError, match=r"fill \S+ s, which does not fit its \S+ s; change one"):
        frames_of(lengths, whole, fps)


@pytest.mark.parametrize(
    ("length", "count", "whole", "fps", "frames"),
    [
        ("0.3", 10, "3", 8, [2, 3, 2, 3, 2, 2, 3, 2, 3, 2]),
        ("4", 10, "40", Fraction(24000, 1001), [96, 96, 96, 96, 96, 95, 96, 96, 96, 96]),
        ("0.83", 12, "10", 24, [20] * 12),  # 239.04 frames fill 240
        ("3.34", 3, "10", 25, [83, 84, 83]),  # 250.5 frames fill 250
    ],
)
def test_lengths_that_are_no_whole_frames_fill_the_film(
    length: str, count: int, whole: str, fps: Fraction, frames: list[int]
) -> None:
    lengths: Lengths = [Fraction(length)] * count
    assert frames_of(lengths, Fraction(whole), Fraction(fps)) == frames


def test_a_scene_of_no_frame_is_refused_in_one_sentence() -> None:
    long, short = Fraction(2), Fraction(1, 50)
    with pytest.raises(InputError) as refused:
        frames_of([long, short, short, short, short], Fraction(208, 100), Fraction(8))
    assert str(refused.value) == (
        "A scene of 'A fox' is 0.02 s long, too short for a frame at 8 frames a second; let it be "
        "at least 1/8 s."
    )
    assert frames_of([long, short], None, Fraction(8)) == [16, 1]


@given(
    frames=st.lists(st.none() | st.integers(1, 90), min_size=1, max_size=10),
    rest=st.integers(0, 100),
    fps=rates,
)
@few
def test_lengths_of_whole_frames_are_what_they_always_were(
    frames: list[int | None], rest: int, fps: Fraction
) -> None:
    lengths: Lengths = [None if number is None else number / fps for number in frames]
    others = frames.count(None)
    default = math.floor(4 * fps + Fraction(1, 2))
    assert frames_of(lengths, None, fps) == [default if n is None else n for n in frames]
    left = others + rest if others else 0
    shares = [left * (n + 1) // others - left * n // others for n in range(others)]
    longest_first = iter(sorted(shares, reverse=True))
    whole = (sum(number or 0 for number in frames) + left) / fps
    expected = [next(longest_first) if n is None else n for n in frames]
    assert frames_of(lengths, whole, fps) == expected


def test_a_film_of_whole_frames_keeps_its_addresses() -> None:
    lengths = [Fraction(7, 8), None, None, Fraction(1), None]
    scenes = [SceneRequest(prompt=p, seconds=s) for p, s in zip("abcde", lengths, strict=True)]
    made = plan_film(a_script(*scenes, seconds=Fraction(11)), REVISION, HOUR)
    assert [scene.num_frames for scene in made.scenes] == [7, 25, 24, 8, 24]
    # From before places were rounded instead of lengths; a new RECIPE moves it.
    digest = hashlib.sha256("".join(addresses(made)).encode()).hexdigest()
    assert digest.startswith("e4df3edb1be0a87b")
