"""Pictures that users give: every common form is read as it looks, everything else is refused."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from film.errors import InputError, MediaError
from media import user_images
from media.user_images import fitted_picture, read_picture
from tests.film.making import few

RED, HIDDEN = (255, 0, 0), (255, 0, 255)


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def pixels(path: Path) -> np.ndarray:
    """What is read of a picture."""
    return np.asarray(Image.open(io.BytesIO(read_picture(path).png)))


def cut_out(hidden: tuple[int, int, int], ball: tuple[int, int, int] = RED) -> Image.Image:
    """A ball of 4x4 pixels on something that cannot be seen."""
    picture = Image.new("RGBA", (16, 8), (*hidden, 0))
    picture.paste((*ball, 255), (4, 2, 8, 6))
    return picture


@pytest.mark.parametrize("form", ["RGBA", "LA", "P", "tRNS", "WEBP"])
def test_what_cannot_be_seen_is_white(tmp_path: Path, form: str) -> None:
    picture, path = cut_out(HIDDEN), tmp_path / "cut out.png"
    ball = RED
    if form == "RGBA":
        saved(path, picture)
    elif form == "LA":
        saved(path, picture.convert("LA"))
        ball = (76, 76, 76)
    elif form == "P":
        palette = Image.new("P", picture.size, 0)
        palette.putpalette([*HIDDEN, *RED])
        palette.paste(1, (4, 2, 8, 6))
        saved(path, palette, transparency=0)
    elif form == "tRNS":
        saved(path, picture.convert("RGB"), transparency=HIDDEN)
    else:
        saved(path, picture, format="WEBP", lossless=True, exact=True)
    found = pixels(path)
    assert found.shape == (8, 16, 3)
    assert tuple(found[0, 0]) == (255, 255, 255)
    assert tuple(found[3, 5]) == ball
    assert read_picture(path).transparent


def test_pictures_that_look_alike_are_the_same_picture(tmp_path: Path) -> None:
    one = read_picture(saved(tmp_path / "1.png", cut_out(HIDDEN)))
    other = read_picture(saved(tmp_path / "2.png", cut_out((0, 255, 0))))
    assert one.digest == other.digest


def test_an_opaque_picture_stays_as_it_is(tmp_path: Path) -> None:
    whole = Image.new("RGBA", (3, 2), (1, 2, 3, 255))
    plain = read_picture(saved(tmp_path / "plain.png", whole.convert("RGB")))
    opaque = read_picture(saved(tmp_path / "opaque.png", whole))
    assert plain == opaque
    assert not opaque.transparent


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bits_keep_their_brightness(tmp_path: Path, ending: str) -> None:
    levels = np.array([[0, 0x0100, 0x8000, 0xFFFF]], np.uint16)
    path = saved(tmp_path / f"grey.{ending}", Image.fromarray(levels))
    assert pixels(path)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_thirty_two_bits_are_refused(tmp_path: Path, kind: type) -> None:
    levels = np.array([[0, 1_000_000]], kind)
    path = saved(tmp_path / "depth.tiff", Image.fromarray(levels))
    with pytest.raises(InputError, match=r"32 bits .* save it with 8 or 16 bits"):
        read_picture(path)


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 2), RED)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "photo.jpg", picture, exif=exif)
    assert pixels(path).shape == (4, 2, 3)


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a picture")
    Image.fromarray(noise).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


PNG = png_bytes()


@few
@given(st.lists(st.tuples(st.integers(8, len(PNG) - 1), st.integers(0, 255)), min_size=1))
def test_damage_of_any_kind_is_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(PNG)
    for place, value in damage:
        data[place] = value
    path = tmp_path_factory.mktemp("damaged") / "picture.png"
    path.write_bytes(data)
    raised: InputError | None = None
    try:
        read_picture(path)
    except InputError as error:
        raised = error
    assert raised is None or ("\n" not in str(raised) and str(path) in str(raised))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PNG[:40],
        PNG[: len(PNG) // 2],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>",
        b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n",
    ],
    ids=["empty", "cut in the header", "cut in the middle", "EPS", "SVG", "playlist"],
)
def test_what_is_no_picture_is_refused_in_a_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a picture") as raised:
        read_picture(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(MediaError, match="cannot be read as a picture"):
        fitted_picture(path, 8, 8)


def test_a_picture_that_takes_gigabytes_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "huge.png", Image.new("1", (13_000, 13_000)))
    with pytest.raises(InputError, match="13000x13000 pixels, and 64 megapixels are the most"):
        read_picture(path)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.png"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        with pytest.raises(InputError, match="is not a file"):
            read_picture(path)
    with pytest.raises(InputError, match="There is no picture"):
        read_picture(tmp_path / "gone.png")
    assert user_images.MAX_PIXELS == 64_000_000
