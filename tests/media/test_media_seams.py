"""Seams in films whose every change is known."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from film.types import SeamReport
from media.encode import encode_segment
from media.ffmpeg.frame_pipe import Frame
from media.join import join_segments
from media.match_headers import SegmentFile
from media.seams import Continuation, measure_seams

WIDTH, HEIGHT = 128, 96
FPS = Fraction(8)


def moving(number: float, *, level: int = 0, blur: bool = False) -> Frame:
    """A grey picture with a soft grating that moves by 2 pixels a frame."""
    x = np.arange(WIDTH) - 2 * number
    line = 128 + 60 * np.sin(2 * np.pi * x / (64 if blur else 16)) + level
    picture = np.broadcast_to(line[None, :, None], (HEIGHT, WIDTH, 3))
    return np.ascontiguousarray(picture.clip(0, 255).astype(np.uint8))


def measured(tmp_path: Path, frames: list[Frame], seams: list[int]) -> list[SeamReport]:
    """The reports of a film whose segments begin at 0 and at `seams`."""
    bounds = [0, *seams, len(frames)]
    segments = []
    for begin, end in pairwise(bounds):
        path = tmp_path / f"{begin}-{end}.mp4"
        segments.append(SegmentFile(path, encode_segment(frames[begin:end], path, fps=FPS, crf=4)))
    film = tmp_path / "film.mp4"
    counts = [segment.contents.num_frames for segment in segments]
    joined = join_segments(
        segments, film, fps=FPS, frames_each=counts, title=None, scratch=tmp_path
    )
    continuations = [
        Continuation(seam, before.end, after.start)
        for seam, (before, after) in zip(seams, pairwise(joined), strict=True)
    ]
    return list(measure_seams(film, continuations, FPS))


def test_a_film_that_just_goes_on_has_no_seam_to_see(tmp_path: Path) -> None:
    reports = measured(tmp_path, [moving(n) for n in range(24)], [8, 16])
    assert [report.frame for report in reports] == [8, 16]
    for report in reports:
        assert report.colour_shift < 0.5
        assert abs(report.sharpness_change - 1) < 0.05
        assert abs(report.motion_jump - 1) < 0.15


def test_a_shift_of_colour_a_jump_and_a_blur_are_told_apart(tmp_path: Path) -> None:
    shifted = [moving(n, level=0 if n < 8 else 12) for n in range(16)]
    jumping = [moving(n if n < 8 else n + 2) for n in range(16)]
    blurred = [moving(n, blur=n >= 8) for n in range(16)]
    (shift,) = measured(tmp_path, shifted, [8])
    (jump,) = measured(tmp_path, jumping, [8])
    (blur,) = measured(tmp_path, blurred, [8])
    assert 10 < shift.colour_shift < 14
    assert jump.colour_shift < 1
    assert 2 < jump.motion_jump < 4  # three steps at once, and a sine is less than straight
    assert abs(jump.sharpness_change - 1) < 0.05
    assert blur.sharpness_change < 0.2


def test_seams_at_the_very_edges_and_close_together_are_measured(tmp_path: Path) -> None:
    reports = measured(tmp_path, [moving(n) for n in range(6)], [1, 2, 5])
    assert [report.frame for report in reports] == [1, 2, 5]
    assert all(report.motion_jump < 1.3 for report in reports)


def test_a_still_picture_has_no_jump(tmp_path: Path) -> None:
    (report,) = measured(tmp_path, [moving(0)] * 12, [6])
    assert report.motion_jump < 1
    assert report.colour_shift == 0
