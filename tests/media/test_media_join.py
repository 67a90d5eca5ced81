"""Films: every frame in order, at its exact time, with title and chapters; or no film at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from media_pictures import numbered, numbers

from benchmarks.frames import read_frames
from film.errors import MediaError, StoreFullError
from media.encode import encode_segment
from media.join import concat_list, join_segments
from media.probe import probe
from media.verify import verify_film

FPS = Fraction(24)
Library = dict[int, Path]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Segments of 1 to 5 frames and of 50, numbered from 0, of different content and quality."""
    folder = tmp_path_factory.mktemp("it's a library")
    made = {}
    for count in (1, 2, 3, 4, 5, 50):
        made[count] = folder / f"{count}.mp4"
        encode_segment(
            numbered(range(count), detail=count % 3), made[count], fps=FPS, crf=14 + count % 7
        )
    return made


def join(paths: list[Path], out: Path, counts: list[int], fps: Fraction = FPS, **more: Any) -> None:
    scratch = out.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    more = {"title": None, **more}
    join_segments(paths, out, fps=fps, frames_each=counts, scratch=scratch, **more)
    assert not list(scratch.iterdir())


@settings(max_examples=5, deadline=None, derandomize=True)
@given(counts=st.lists(st.sampled_from([1, 2, 3, 4, 5]), min_size=1, max_size=12))
@example(counts=[50])
@example(counts=[2, 1, 5, 1, 50, 3, 1, 1, 4])
@example(counts=[1, 2, 3, 4, 5] * 12)
def test_every_frame_in_order_at_its_exact_time(
    counts: list[int], library: Library, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("join") / "film.mp4"
    join([library[count] for count in counts], out, counts)
    verify_film(out, num_frames=sum(counts), width=32, height=32, fps=FPS)
    assert numbers(read_frames(out)) == [n for count in counts for n in range(count)]


@pytest.mark.parametrize("fps", [Fraction(1, 2), Fraction(24000, 1001), Fraction(47, 3)])
def test_odd_rates_stay_exact(fps: Fraction, tmp_path: Path) -> None:
    counts = [7, 1, 4] * 3
    paths = []
    for index, count in enumerate(counts):
        paths.append(tmp_path / f"{index}.mp4")
        start = sum(counts[:index])
        encode_segment(numbered(range(start, start + count)), paths[-1], fps=fps)
    join(paths, tmp_path / "film.mp4", counts, fps)
    info = verify_film(tmp_path / "film.mp4", num_frames=36, width=32, height=32, fps=fps)
    assert info.seconds == 36 / fps
    assert numbers(read_frames(tmp_path / "film.mp4")) == list(range(36))


def test_listed_lengths_do_not_drift() -> None:
    fps = Fraction(24000, 1001)
    listing = concat_list([Path("/a.mp4")] * 3000, [121] * 3000, fps).decode()
    lengths = [int(line.split()[1][:-2]) for line in listing.splitlines() if "duration" in line]
    assert abs(sum(lengths) - 3000 * 121 / fps * 10**6) <= Fraction(1, 2)


def test_same_input_gives_same_bytes(library: Library, tmp_path: Path) -> None:
    paths = [library[5], library[3]]
    for name in ("a.mp4", "b.mp4"):
        join(paths, tmp_path / name, [5, 3], title="Twice", chapters=[("one", 0), ("two", 5)])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_index_comes_first_so_that_playing_starts_at_once(library: Library, tmp_path: Path) -> None:
    join([library[5], library[3]], tmp_path / "film.mp4", [5, 3])
    data = (tmp_path / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def described(path: Path) -> tuple[str | None, list[tuple[str, Fraction, Fraction]]]:
    """Title and chapters (title, start and end in seconds) as PyAV reads them."""
    with av.open(str(path)) as container:
        chapters = [
            (
                chapter["metadata"].get("title", ""),
                chapter["start"] * Fraction(chapter["time_base"]),
                chapter["end"] * Fraction(chapter["time_base"]),
            )
            for chapter in container.chapters()
        ]
        return container.metadata.get("title"), chapters


def test_chapters_start_exactly_at_their_frames(library: Library, tmp_path: Path) -> None:
    chapters = [("Dawn", 0), ("Noon = 12:00; #1", 3), ("夜\nline", 8)]
    join([library[3], library[5]] * 2, tmp_path / "film.mp4", [3, 5] * 2, chapters=chapters)
    marks = [Fraction(0), 3 / FPS, 8 / FPS, 16 / FPS]
    expected = [(chapters[i][0], marks[i], marks[i + 1]) for i in range(3)]
    assert described(tmp_path / "film.mp4") == (None, expected)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    title=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
)
@example(title="a=b;c#d\\e\nf\r\ng 'h' \"i\" é 界 🎬")
@example(title="[CHAPTER]\nSTART=5\\")
@example(title=";FFMETADATA1\n\n#")
def test_any_title_comes_back(
    title: str, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("title") / "film.mp4"
    join([library[1]], out, [1], title=title, chapters=[(title, 0)])
    read, chapters = described(out)
    expected = f"{title} " if title.endswith("\\") else title
    assert read == expected
    assert [name for name, _, _ in chapters] == [expected]


def test_a_long_chapter_title_is_cut_between_characters(library: Library, tmp_path: Path) -> None:
    join([library[2]], tmp_path / "film.mp4", [2], chapters=[("界" * 200, 0), ("x" * 300, 1)])
    names = [name for name, _, _ in described(tmp_path / "film.mp4")[1]]
    assert names == ["界" * 84 + "…", "x" * 252 + "…"]


def test_a_title_that_is_no_text_is_still_written(library: Library, tmp_path: Path) -> None:
    join([library[1]], tmp_path / "film.mp4", [1], title="a\udc80b\0c")
    assert described(tmp_path / "film.mp4")[0] == "a?bc"


@pytest.mark.parametrize("starts", [[0, 5, 3], [0, 0], [-1], [2], [0, 8]])
def test_chapters_out_of_order_are_refused(
    starts: list[int], library: Library, tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match="Chapters must start at frame 0"):
        join(
            [library[3], library[5]],
            tmp_path / "film.mp4",
            [3, 5],
            chapters=[("x", start) for start in starts],
        )


def other_header(path: Path, count: int, start: int) -> None:
    """A segment that another encoder made: its header differs from ours."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"bf": "0", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = 1 / FPS
        for frame in numbered(range(start, start + count)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.mark.parametrize("foreign", [{1}, {0, 2}])
def test_segments_with_another_header_are_encoded_again(foreign: set[int], tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.mp4" for index in range(3)]
    for index, path in enumerate(paths):
        if index in foreign:
            other_header(path, 6, 6 * index)
        else:
            encode_segment(numbered(range(6 * index, 6 * index + 6)), path, fps=FPS)
    assert len({probe(path).extradata_sha256 for path in paths}) == 2
    out = tmp_path / "film.mp4"
    join(paths, out, [6, 6, 6])
    verify_film(out, num_frames=18, width=32, height=32, fps=FPS)
    assert numbers(read_frames(out)) == list(range(18))


def broken(what: str, good: Path, tmp_path: Path) -> Path:
    path = tmp_path / "broken.mp4"
    data = good.read_bytes()
    if what == "cut off":
        path.write_bytes(data[: len(data) - 40])
    elif what == "only its head":
        path.write_bytes(data[:100])
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "text":
        path.write_text("not a video, but long enough to be taken for something\n" * 50)
    elif what == "another size":
        encode_segment(numbered(range(5), width=48), path, fps=FPS)
    elif what == "another rate":
        encode_segment(numbered(range(5)), path, fps=Fraction(25))
    elif what == "a frame less":
        encode_segment(numbered(range(4)), path, fps=FPS)
    return path


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "what",
    [
        "missing",
        "cut off",
        "only its head",
        "empty",
        "text",
        "another size",
        "another rate",
        "a frame less",
    ],
)
def test_a_wrong_segment_gives_no_film(
    what: str, place: int, library: Library, tmp_path: Path
) -> None:
    paths = [library[5], library[5]]
    paths[place] = broken(what, library[5], tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(MediaError, match=r"broken\.mp4|5\.mp4"):
        join(paths, out / "film.mp4", [5, 5])
    assert [path.name for path in out.iterdir()] == ["scratch"]


def test_nothing_to_join_and_lengths_that_do_not_match(library: Library, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="Cannot join"):
        join([], tmp_path / "film.mp4", [])
    with pytest.raises(MediaError, match="Cannot join"):
        join([library[1]], tmp_path / "film.mp4", [1, 1])


def test_a_full_disk_is_said_so(library: Library, tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(StoreFullError, match="No space was left"):
        join([library[5]], tmp_path / "film.mp4", [5])
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]


def test_a_segment_damaged_inside_is_found_by_decoding(library: Library, tmp_path: Path) -> None:
    join([library[50]], tmp_path / "film.mp4", [50])
    path = tmp_path / "film.mp4"
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 800
    data[start : start + 60] = np.random.default_rng(1).bytes(60)
    path.write_bytes(data)
    with pytest.raises(MediaError):
        verify_film(path, num_frames=50, width=32, height=32, fps=FPS)
