"""The first sharp frame of a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from film.errors import InputError
from media.encode import encode_segment
from media.sharp_frame import is_video, write_sharp_frame


def frames(*kinds: str) -> NDArray[np.uint8]:
    """A second of each kind: black, or squares of a colour, sharp or blurred."""
    made = []
    for kind in kinds:
        name, _, colour = kind.partition(" ")
        picture = np.zeros((64, 96, 3), np.uint8)
        if name != "black":
            picture[::16, :] = picture[:, ::16] = 255
            picture[:8, :8] = {"red": (255, 0, 0), "blue": (0, 0, 255)}[colour]
        if name == "blurred":
            image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(4))
            picture = np.asarray(image)
        made += [picture] * 8
    return np.stack(made)


def video(path: Path, *kinds: str) -> Path:
    encode_segment(frames(*kinds), path, fps=Fraction(8))
    return path


def corner(path: Path) -> str:
    """The colour of the first corner of a picture."""
    with Image.open(path) as picture:
        red, _, blue = np.asarray(picture.convert("RGB"))[2:6, 2:6].mean(axis=(0, 1))
    return "red" if red > blue else "blue"


def test_black_and_blurred_frames_are_passed_over(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", "black", "blurred red", "sharp blue")
    write_sharp_frame(path, tmp_path / "out.png")
    assert corner(tmp_path / "out.png") == "blue"


def test_the_first_of_equally_sharp_frames_is_taken(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", "sharp red", "sharp blue")
    write_sharp_frame(path, tmp_path / "out.png")
    assert corner(tmp_path / "out.png") == "red"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"#EXTM3U\n/etc/passwd\n", "is not a video"),
        (b"", "is not a video"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 100, "cannot be decoded"),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 100, "cannot be decoded"),
    ],
)
def test_what_is_not_a_video_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        write_sharp_frame(path, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_a_video_of_one_colour_is_refused(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", "black")
    with pytest.raises(InputError, match="shows nothing"):
        write_sharp_frame(path, tmp_path / "out.png")


def test_pictures_are_no_videos(tmp_path: Path) -> None:
    for ending in ("png", "avif", "webp"):
        path = tmp_path / f"a.{ending}"
        Image.new("RGB", (32, 32), (200, 10, 10)).save(path)
        assert not is_video(path)
