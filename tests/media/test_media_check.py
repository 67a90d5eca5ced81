"""What `probe`, `verify_film` and `picture_problem` report about files and pictures."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_pictures import numbered

from benchmarks.frames import read_frames
from film.errors import MediaError
from film.settings import Settings
from media.encode import encode_segment
from media.ffmpeg.executable import ffmpeg_path
from media.probe import probe
from media.tail import write_tail
from media.verify import picture_problem, verify_film

FPS = Fraction(24000, 1001)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 numbered frames of 64x48 at 24000/1001."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    encode_segment(numbered(range(120), width=64, height=48), path, fps=FPS)
    return path


def test_probe_tells_all(video: Path) -> None:
    info = probe(video)
    assert (info.num_frames, info.width, info.height, info.fps) == (120, 64, 48, FPS)
    assert (info.start_seconds, info.seconds, info.time_base) == (0, 120 / FPS, Fraction(1, 24000))
    assert (info.monotone, info.evenly_spaced) == (True, True)
    assert len(info.extradata_sha256) == 64


def test_probe_reads_tails_too(tmp_path: Path) -> None:
    write_tail(numbered(range(4), width=33, height=35), tmp_path / "a.mkv", fps=Fraction(25))
    info = probe(tmp_path / "a.mkv")
    assert (info.num_frames, info.width, info.height, info.fps) == (4, 33, 35, 25)
    assert (info.codec, info.pixel_format) == ("ffv1", "bgr0")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"num_frames": 121}, "120 frames instead of 121"),
        ({"width": 66}, "64x48 pixels instead of 66x48"),
        ({"height": 50}, "64x48 pixels instead of 64x50"),
        ({"fps": Fraction(24)}, "24000/1001 frames per second instead of 24"),
    ],
)
def test_what_differs_is_said(wrong: dict[str, Any], says: str, video: Path) -> None:
    plan = {"num_frames": 120, "width": 64, "height": 48, "fps": FPS}
    verify_film(video, **plan)
    with pytest.raises(MediaError, match=says):
        verify_film(video, **{**plan, **wrong}, decode=False)


def night() -> np.ndarray:
    """Black, but for one dim star."""
    frames = np.zeros((9, 48, 64, 3), np.uint8)
    frames[:, 5, 7] = 6
    return frames


def still() -> np.ndarray:
    return np.repeat(numbered([5], detail=1), 9, axis=0)


def fade() -> np.ndarray:
    """From black to a picture."""
    return (numbered([50] * 9) * np.linspace(0, 1, 9)[:, None, None, None]).astype(np.uint8)


@pytest.mark.parametrize("frames", [night(), still(), fade(), fade()[::-1]])
def test_sound_pictures_pass(frames: np.ndarray) -> None:
    assert picture_problem(frames) is None


def test_empty_pictures_are_named() -> None:
    black = np.zeros((9, 48, 64, 3), np.uint8)
    assert picture_problem(black) == "all 9 frames are black, from edge to edge"
    grey = black + np.random.default_rng(1).integers(127, 129, black.shape, dtype=np.uint8)
    assert picture_problem(grey) == "all 9 frames are one flat colour, from edge to edge"
    flashes = black + np.array([0, 255, 40] * 3, np.uint8)[:, None, None, None]
    assert picture_problem(flashes) == "all 9 frames are one flat colour, from edge to edge"
    assert picture_problem(black[:0]) == "there are no frames"


@pytest.mark.parametrize("what", [probe, read_frames])
def test_things_that_are_not_videos(what: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello " * 1000)
    with pytest.raises(MediaError, match=r"text\.mp4 cannot be read as a video"):
        what(tmp_path / "text.mp4")
    with pytest.raises(MediaError, match="is not there"):
        what(tmp_path / "none.mp4")
    with pytest.raises(MediaError):
        what(tmp_path)


def test_an_ffmpeg_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.ffmpeg.executable.settings", lambda: Settings(ffmpeg="/none/ffmpeg"))
    with pytest.raises(MediaError, match="LONGREEL_FFMPEG is '/none/ffmpeg'"):
        ffmpeg_path()


def test_without_a_wheel_the_systems_ffmpeg_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", none)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert ffmpeg_path() == "/usr/bin/ffmpeg"
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(MediaError, match="Install it"):
        ffmpeg_path()
