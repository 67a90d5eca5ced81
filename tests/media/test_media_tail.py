"""Tails come back bit for bit, and damage never passes for a picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from film.errors import MediaError, StoreFullError
from media.tail import read_tail, write_tail


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    count=st.integers(1, 9),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    fps=st.sampled_from([Fraction(24), Fraction(24000, 1001), Fraction(1, 2)]),
)
@example(count=1, height=1, width=1, seed=0, fps=Fraction(24))
@example(count=4, height=479, width=831, seed=1, fps=Fraction(16))
def test_round_trip_is_bit_exact(
    count: int,
    height: int,
    width: int,
    seed: int,
    fps: Fraction,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("tail") / "a.mkv"
    shape = (count, height, width, 3)
    frames = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    write_tail(frames, path, fps=fps)
    assert np.array_equal(read_tail(path), frames)


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (6, 33, 35, 3), dtype=np.uint8)


def test_same_frames_give_same_bytes(frames: np.ndarray, tmp_path: Path) -> None:
    write_tail(frames, tmp_path / "a.mkv", fps=Fraction(24))
    write_tail(list(frames), tmp_path / "b.mkv", fps=Fraction(24))
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.8, 0.95])
def test_a_cut_off_tail_is_refused(frames: np.ndarray, part: float, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_tail(frames, path, fps=Fraction(24))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(MediaError):
        read_tail(path)


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_refused(frames: np.ndarray, part: float, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_tail(frames, path, fps=Fraction(24))
    data = bytearray(path.read_bytes())
    data[int(len(data) * part)] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(MediaError):
        read_tail(path)


def test_no_frames_missing_file_and_full_disk(
    frames: np.ndarray, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(MediaError, match="no frames"):
        write_tail(frames[:0], tmp_path / "a.mkv", fps=Fraction(24))
    with pytest.raises(MediaError, match="is not there"):
        read_tail(tmp_path / "a.mkv")
    request.getfixturevalue("full_disk")
    with pytest.raises(StoreFullError):
        write_tail(frames, tmp_path / "a.mkv", fps=Fraction(24))
    assert not list(tmp_path.iterdir())
