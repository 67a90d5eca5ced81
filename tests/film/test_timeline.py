"""Frame arithmetic, which must hold for any film and any model."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.families import DEMO
from film.models import ModelSpec
from film.timeline import (
    Span,
    conditioning_frames,
    frame_count,
    group_evenly,
    sample_at,
    sample_runs,
    share_frames,
    split_scene,
)
from tests.film.making import few, lengths, specs

tails = st.one_of(st.just(0), st.integers(1, 40), st.integers(1, 20_000))


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"),
    [
        (Fraction(20), Fraction(8), 160),
        (Fraction(1, 16), Fraction(8), 1),  # a half goes up
        (Fraction(3, 16), Fraction(8), 2),
        (Fraction(1, 1000), Fraction(8), 1),  # never none
        (Fraction(10), Fraction(24000, 1001), 240),  # 239.76
        (Fraction(3600), Fraction(24000, 1001), 86314),  # 86313.69
        (Fraction(3600), Fraction(24), 86400),
    ],
)
def test_seconds_become_the_nearest_frame(seconds: Fraction, fps: Fraction, frames: int) -> None:
    assert frame_count(seconds, fps) == frames


@given(seconds=st.fractions(0, 5000), fps=st.fractions(1, 120))
@few
def test_rounding_is_at_most_half_a_frame(seconds: Fraction, fps: Fraction) -> None:
    exact = seconds * fps
    assert frame_count(seconds, fps) == 1 or -Fraction(1, 2) <= exact - frame_count(
        seconds, fps
    ) < Fraction(1, 2)


rates = st.one_of(
    st.sampled_from([Fraction(24), Fraction(24000, 1001), Fraction(47, 3)]), st.fractions(1, 120)
)
sample_rates = st.sampled_from([16_000, 24_000, 44_100, 48_000])


@given(frames=st.lists(st.integers(0, 500), max_size=300), fps=rates, rate=sample_rates)
@few
def test_sounds_of_runs_add_up_to_the_film_without_drift(
    frames: list[int], fps: Fraction, rate: int
) -> None:
    runs = sample_runs(frames, fps, rate)
    assert len(runs) == len(frames)
    assert sum(runs) == sample_at(sum(frames), fps, rate)
    for count, samples in zip(frames, runs, strict=True):
        assert abs(samples - count * rate / fps) <= 1


@given(frame=st.integers(0, 10**7), fps=rates, rate=sample_rates)
@few
def test_a_frame_begins_at_the_nearest_sample(frame: int, fps: Fraction, rate: int) -> None:
    off = frame * rate / fps - sample_at(frame, fps, rate)
    assert -Fraction(1, 2) <= off < Fraction(1, 2)


def test_rounding_each_run_by_itself_would_drift() -> None:
    fps, rate = Fraction(24000, 1001), 16_000  # a frame is 667 1/3 samples
    assert sum(sample_runs([1] * 3000, fps, rate)) == 2_002_000
    assert 3000 * sample_at(1, fps, rate) == 2_001_000


@given(total=st.integers(0, 10_000), parts=st.integers(1, 300))
@few
def test_shares_add_up_and_differ_by_one_at_most(total: int, parts: int) -> None:
    shares = share_frames(total, parts)
    assert len(shares) == parts
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


@given(items=st.lists(st.text(max_size=3), max_size=40), groups=st.integers(1, 50))
@few
def test_groups_keep_every_item_in_order(items: list[str], groups: int) -> None:
    grouped = group_evenly(items, groups)
    assert [item for group in grouped for item in group] == items
    assert len(grouped) == groups


@given(num_frames=lengths, spec=specs(), tail=tails)
@few
def test_keeps_add_up_to_the_scene_exactly(num_frames: int, spec: ModelSpec, tail: int) -> None:
    spans = split_scene(num_frames, spec, tail)
    assert sum(span.keep_frames for span in spans) == num_frames
    assert all(span.keep_frames > 0 for span in spans)


@given(num_frames=lengths, spec=specs(), tail=tails)
@few
def test_every_length_is_one_the_model_renders(num_frames: int, spec: ModelSpec, tail: int) -> None:
    for span in split_scene(num_frames, spec, tail):
        assert (span.num_frames - 1) % spec.frame_step == 0
        assert spec.min_frames <= span.num_frames <= spec.max_frames
        echo = span.overlap_frames if spec.echoes else 0
        assert span.num_frames >= echo + span.keep_frames


@given(num_frames=lengths, spec=specs(), tail=tails)
@few
def test_overlaps_are_conditioning_lengths_of_frames_that_exist(
    num_frames: int, spec: ModelSpec, tail: int
) -> None:
    for span in split_scene(num_frames, spec, tail):
        most = min(tail, spec.overlap_frames)
        assert span.overlap_frames == conditioning_frames(tail, spec) <= most
        if most:
            assert (span.overlap_frames - 1) % spec.frame_step == 0
            assert span.overlap_frames > most - spec.frame_step  # and as many as there can be
        else:
            assert span.overlap_frames == 0
        tail += span.keep_frames


@given(num_frames=lengths, spec=specs(), tail=tails)
@few
def test_no_more_than_one_segment_over_the_fewest(
    num_frames: int, spec: ModelSpec, tail: int
) -> None:
    spans = split_scene(num_frames, spec, tail)
    assert len(spans) <= len(longest_first(num_frames, spec, tail)) + 1
    assert len(spans) * spec.max_frames >= num_frames


@given(num_frames=lengths, spec=specs())
@few
def test_a_scene_that_fits_one_segment_is_one(num_frames: int, spec: ModelSpec) -> None:
    assert (len(split_scene(num_frames, spec)) == 1) == (num_frames <= spec.max_frames)


def longest_first(num_frames: int, spec: ModelSpec, tail: int) -> list[int]:
    """The keeps of segments that each render all they can."""
    keeps: list[int] = []
    while num_frames > 0:
        echo = conditioning_frames(tail, spec) if spec.echoes else 0
        keeps.append(min(num_frames, spec.max_frames - echo))
        num_frames, tail = num_frames - keeps[-1], tail + keeps[-1]
    return keeps


def test_the_demo_model_fills_a_scene_as_documented() -> None:
    assert split_scene(40, DEMO) == [
        Span(num_frames=17, overlap_frames=0, keep_frames=17),
        Span(num_frames=17, overlap_frames=5, keep_frames=12),
        Span(num_frames=17, overlap_frames=5, keep_frames=11),
    ]


def test_a_scene_continues_no_further_back_than_the_last_cut() -> None:
    assert [span.overlap_frames for span in split_scene(20, DEMO, tail_before=3)] == [1, 5]
