"""Films: every frame in order, at its exact time, with title and chapters; or no film at all."""

from __future__ import annotations

from collections.abc import Iterable
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
from film.types import VideoContents
from media.encode import encode_segment
from media.join import concat_list, join_segments
from media.match_headers import SegmentFile
from media.verify import read_contents, verify_film, verify_joined

FPS = Fraction(24)
Library = dict[int, SegmentFile]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Segments of 1 to 5 frames and of 50, numbered from 0, of different content and quality."""
    folder = tmp_path_factory.mktemp("it's a library")
    made = {}
    for count in (1, 2, 3, 4, 5, 50):
        made[count] = segment(
            folder / f"{count}.mp4", range(count), detail=count % 3, crf=14 + count % 7
        )
    return made


def segment(
    path: Path, shown: Iterable[int], *, detail: int = 0, fps: Fraction = FPS, **more: Any
) -> SegmentFile:
    """A segment of numbered frames."""
    frames = numbered(shown, detail=detail, width=more.pop("width", 32))
    return SegmentFile(path, encode_segment(frames, path, fps=fps, **more))


def join(
    segments: list[SegmentFile], out: Path, counts: list[int], fps: Fraction = FPS, **more: Any
) -> None:
    scratch = out.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    more = {"title": None, **more}
    join_segments(segments, out, fps=fps, frames_each=counts, scratch=scratch, **more)
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
        start = sum(counts[:index])
        shown = range(start, start + count)
        paths.append(segment(tmp_path / f"{index}.mp4", shown, fps=fps))
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
    segments = []
    for index in range(3):
        path = tmp_path / f"{index}.mp4"
        if index in foreign:
            other_header(path, 6, 6 * index)
            segments.append(SegmentFile(path, read_contents(path)))
        else:
            segments.append(segment(path, range(6 * index, 6 * index + 6)))
    assert len({segment.contents.header_sha256 for segment in segments}) == 2
    out = tmp_path / "film.mp4"
    join(segments, out, [6, 6, 6])
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
        segment(path, range(5), width=48)
    elif what == "another rate":
        segment(path, range(5), fps=Fraction(25))
    elif what == "a frame less":
        segment(path, range(4))
    elif what == "a frame more":
        segment(path, range(6))
    elif what == "other pictures":
        segment(path, range(1, 6))
    return path


WRONG_FILES = [
    *("missing", "cut off", "only its head", "empty", "text", "another size", "another rate"),
    *("a frame less", "a frame more", "other pictures"),
]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_file_that_is_not_the_segment_gives_no_film(
    what: str, place: int, library: Library, tmp_path: Path
) -> None:
    segments = [library[5], library[5]]
    path = broken(what, library[5].path, tmp_path)
    segments[place] = SegmentFile(path, library[5].contents)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(MediaError) as caught:
        join(segments, out / "film.mp4", [5, 5])
    print(caught.value)
    assert [path.name for path in out.iterdir()] == ["scratch"]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("another size", "48x32 pixels instead of 32x32"),
        ("another rate", "25 frames per second instead of 24"),
        ("a frame less", "4 frames instead of 5"),
    ],
)
def test_a_segment_that_does_not_fit_gives_no_film(
    what: str, says: str, library: Library, tmp_path: Path
) -> None:
    path = broken(what, library[5].path, tmp_path)
    segments = [library[5], SegmentFile(path, read_contents(path))]
    with pytest.raises(MediaError, match=rf"broken\.mp4 is not what was planned: it has {says}"):
        join(segments, tmp_path / "film.mp4", [5, 5])
    assert not (tmp_path / "film.mp4").exists()


def contents_of(segments: Iterable[SegmentFile]) -> list[VideoContents]:
    return [segment.contents for segment in segments]


def test_segments_lost_doubled_or_in_another_order_are_found(tmp_path: Path) -> None:
    a, b, c = (segment(tmp_path / f"{n}.mp4", range(6 * n, 6 * n + 6)) for n in range(3))
    film = tmp_path / "film.mp4"
    join([a, b, c], film, [6, 6, 6])
    verify_joined(film, contents_of([a, b, c]))
    for wrong, number in (([a, c, b], 2), ([b, a, c], 1), ([a, b, b], 3), ([a, a, c], 2)):
        with pytest.raises(MediaError, match=f"those of segment {number}, or not shown at"):
            verify_joined(film, contents_of(wrong))
    with pytest.raises(MediaError, match="18 frames instead of 12"):
        verify_joined(film, contents_of([a, b]))
    with pytest.raises(MediaError, match="18 frames instead of 24"):
        verify_joined(film, contents_of([a, b, c, c]))
    with pytest.raises(MediaError, match="no sound"):
        verify_joined(film, contents_of([a, b, c]), sound_samples=36_000)


@pytest.fixture(scope="module")
def joined(library: Library, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Library]:
    """A film of two segments of 50 frames, and the segments."""
    out = tmp_path_factory.mktemp("joined") / "film.mp4"
    join([library[50], library[5]], out, [50, 5])
    return out.read_bytes(), library


def boxes(data: bytes, at: int = 0) -> dict[str, tuple[int, int]]:
    """Where the boxes of an mp4 file begin and end, without their headers."""
    found = {}
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        found[data[at + 4 : at + 8].decode("latin-1")] = (at + 8, at + size)
        at += size
    return found


def flipped(film: bytes, box: str, where: float, bit: int, folder: Path) -> Path:
    """The film with one bit of a box changed; `where`: 0 is the box's beginning, 1 its end."""
    begin, end = boxes(film)[box]
    data = bytearray(film)
    data[begin + int(where * (end - begin))] ^= 1 << bit
    path = folder / "film.mp4"
    path.write_bytes(data)
    return path


@settings(max_examples=60, deadline=None, derandomize=True)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(where=0.0, bit=0)
@example(where=0.99999, bit=7)
def test_any_flipped_bit_of_the_pictures_is_found(
    where: float,
    bit: int,
    joined: tuple[bytes, Library],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    film, library = joined
    path = flipped(film, "mdat", where, bit, tmp_path_factory.mktemp("flipped"))
    with pytest.raises(MediaError):
        verify_joined(path, contents_of([library[50], library[5]]))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_film_with_a_changed_index_is_refused_or_the_same(
    where: float,
    bit: int,
    joined: tuple[bytes, Library],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The index has sizes, times and keyframes; a change that matters to none passes."""
    film, library = joined
    path = flipped(film, "moov", where, bit, tmp_path_factory.mktemp("index"))
    try:
        verify_joined(path, contents_of([library[50], library[5]]))
    except MediaError:
        return
    info = verify_film(path, num_frames=55, width=32, height=32, fps=FPS)
    assert info.seconds == 55 / FPS
    assert numbers(read_frames(path)) == [*range(50), *range(5)]


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_film_that_is_cut_off_is_found(
    share: float, joined: tuple[bytes, Library], tmp_path: Path
) -> None:
    film, library = joined
    path = tmp_path / "film.mp4"
    path.write_bytes(film[: int(len(film) * share)])
    with pytest.raises(MediaError):
        verify_joined(path, contents_of([library[50], library[5]]))


@pytest.mark.parametrize("shift", [1, 40])
def test_a_frame_at_a_wrong_time_is_found(
    shift: int, joined: tuple[bytes, Library], tmp_path: Path
) -> None:
    _, library = joined
    source, path = library[50].path, tmp_path / "late.mp4"
    with av.open(str(source)) as container, av.open(str(path), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.dts is None:
                continue
            if packet.pts and packet.pts >= 30 * packet.duration:
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = copy
            out.mux(packet)
    with pytest.raises(MediaError):
        verify_joined(path, [library[50].contents])


def test_nothing_to_join_and_lengths_that_do_not_match(library: Library, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="Cannot join"):
        join([], tmp_path / "film.mp4", [])
    with pytest.raises(MediaError, match="Cannot join"):
        join([library[1]], tmp_path / "film.mp4", [1, 1])


def test_a_full_disk_is_said_so(library: Library, tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(StoreFullError, match="No space was left"):
        join([library[5]], tmp_path / "film.mp4", [5])
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]


@pytest.mark.parametrize("check", ["film", "segment"])
def test_a_segment_damaged_inside_is_found_by_decoding(
    check: str, library: Library, tmp_path: Path
) -> None:
    join([library[50]], tmp_path / "film.mp4", [50])
    path = tmp_path / "film.mp4"
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 800
    data[start : start + 60] = np.random.default_rng(1).bytes(60)
    path.write_bytes(data)
    plan: dict[str, Any] = {"num_frames": 50, "width": 32, "height": 32, "fps": FPS}
    with pytest.raises(MediaError):
        verify_film(path, **plan) if check == "film" else read_contents(path)
