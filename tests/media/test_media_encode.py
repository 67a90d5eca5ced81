"""Segments: exact counts, times, colours and bytes, and every way in which ffmpeg may fail."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from media_pictures import numbered, numbers

from benchmarks.frames import read_frames
from film.errors import MediaError, StoreFullError
from media.encode import encode_segment
from media.probe import probe
from media.verify import verify_film

RATES = [Fraction(1, 2), Fraction(24000, 1001), Fraction(25), Fraction(47, 3), Fraction(60)]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    fps=st.sampled_from(RATES)
    | st.fractions(min_value=Fraction(1, 10), max_value=240, max_denominator=1001),
    count=st.integers(1, 60),
    width=st.integers(8, 60).map(lambda n: 2 * n),
    height=st.integers(8, 60).map(lambda n: 2 * n),
)
@example(fps=Fraction(24), count=49, width=64, height=36)
@example(fps=Fraction(1, 2), count=2, width=16, height=16)
@example(fps=Fraction(24000, 1001), count=1, width=18, height=62)
def test_every_frame_is_there_at_its_exact_time(
    fps: Fraction, count: int, width: int, height: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("encode") / "a.mp4"
    encode_segment(numbered(range(count), width=width, height=height), path, fps=fps)
    info = verify_film(path, num_frames=count, width=width, height=height, fps=fps)
    assert info.seconds == count / fps
    assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
    assert numbers(read_frames(path)) == list(range(count))


def test_flat_colours_come_back_within_two_levels(tmp_path: Path) -> None:
    colours = list(itertools.product((0, 85, 170, 255), repeat=3))
    frames = np.zeros((len(colours), 16, 16, 3), np.uint8)
    frames[:] = np.array(colours, np.uint8)[:, None, None, :]
    encode_segment(frames, tmp_path / "a.mp4", fps=Fraction(24))
    decoded = read_frames(tmp_path / "a.mp4").astype(int)
    assert np.abs(decoded - frames).max() <= 2


def test_same_frames_give_same_bytes_from_an_array_or_one_by_one(tmp_path: Path) -> None:
    frames = numbered(range(30), width=64, height=48, detail=3)
    encode_segment(frames, tmp_path / "a.mp4", fps=Fraction(24))
    one_by_one = (frame for frame in frames)
    encode_segment(one_by_one, tmp_path / "b.mp4", fps=Fraction(24), num_frames=30)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_header_does_not_depend_on_content_length_or_quality(tmp_path: Path) -> None:
    digests = set()
    for index, crf in enumerate((10, 18, 30)):
        path = tmp_path / f"{index}.mp4"
        encode_segment(
            numbered(range(1 + 9 * index), detail=index), path, fps=Fraction(24), crf=crf
        )
        digests.add(probe(path).extradata_sha256)
    assert len(digests) == 1


def test_views_that_are_not_contiguous_are_written_as_they_look(tmp_path: Path) -> None:
    frames = numbered(range(5), width=64, height=64)
    encode_segment(frames[::-1, ::2, ::2], tmp_path / "a.mp4", fps=Fraction(24))
    assert numbers(read_frames(tmp_path / "a.mp4")) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    "name", ["a b.mp4", "it's.mp4", "-x.mp4", "a:b.mp4", "%03d.mp4", "é界.mp4"]
)
def test_any_file_name_will_do(name: str, tmp_path: Path) -> None:
    encode_segment(numbered([7]), tmp_path / name, fps=Fraction(24))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert numbers(read_frames(tmp_path / name)) == [7]


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (np.zeros((2, 15, 16, 3), np.uint8), "both sides must be even"),
        (np.zeros((2, 16, 17, 3), np.uint8), "both sides must be even"),
        (np.zeros((0, 16, 16, 3), np.uint8), "no frames"),
        (np.zeros((2, 16, 16, 4), np.uint8), "height, width, 3"),
        (np.zeros((2, 16, 16, 3), np.float32), "height, width, 3"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)], "Frame 1"),
    ],
)
def test_frames_that_cannot_be_encoded_are_refused(
    frames: np.ndarray, says: str, tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match=says):
        encode_segment(frames, tmp_path / "a.mp4", fps=Fraction(24))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "fps", [Fraction(0), Fraction(-24), Fraction(1, 10**7), Fraction(10**7, 3)]
)
def test_rates_no_file_holds_exactly_are_refused(fps: Fraction, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="frame rate"):
        encode_segment(numbered([1]), tmp_path / "a.mp4", fps=fps)
    assert not list(tmp_path.iterdir())


def test_the_finest_rate_is_exact(tmp_path: Path) -> None:
    encode_segment(numbered([1, 2]), tmp_path / "a.mp4", fps=Fraction(499_979, 7))
    assert probe(tmp_path / "a.mp4").fps == Fraction(499_979, 7)


def test_a_failing_source_of_frames_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def frames() -> Iterator[np.ndarray]:
        yield from numbered(range(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_segment(frames(), path, fps=Fraction(24), num_frames=4)
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sleep 30", "did nothing for 0.5 s"),
        ("cat > /dev/null; sleep 30", "did nothing for 0.5 s"),
        ("kill -9 $$", "SIGKILL"),
        (
            "echo '[x @ 0x7f] Unknown thing' >&2; echo 'Conversion failed!' >&2; exit 1",
            r"\[x\] Unk",
        ),
        ("exit 3", "exit status 3"),
        ("exit 0", "ffmpeg failed"),
        ("cat > /dev/null", "not there"),
        ("cat > /dev/null; echo 'x: No space left on device' >&2; exit 1", "No space"),
    ],
)
def test_an_ffmpeg_that_stalls_dies_or_lies(
    script: str, says: str, tmp_path: Path, use_ffmpeg: Callable[[str], None]
) -> None:
    use_ffmpeg(script)
    folder = tmp_path / "out"
    folder.mkdir()
    frames = np.zeros((4, 200, 200, 3), np.uint8)
    began = time.monotonic()
    with pytest.raises((MediaError, StoreFullError), match=says):
        encode_segment(frames, folder / "a.mp4", fps=Fraction(24), stall_seconds=0.5)
    assert time.monotonic() - began < 5
    assert not list(folder.iterdir())


def test_time_spent_rendering_is_not_a_stall(tmp_path: Path) -> None:
    def slowly() -> Iterator[np.ndarray]:
        first, *others = numbered(range(3))
        yield first
        time.sleep(1.7)
        yield from others

    encode_segment(slowly(), tmp_path / "a.mp4", fps=Fraction(24), num_frames=3, stall_seconds=1.5)
    assert probe(tmp_path / "a.mp4").num_frames == 3


def test_a_source_with_another_number_of_frames_is_refused(tmp_path: Path) -> None:
    for said in (2, 4):
        frames = iter(numbered(range(3)))
        with pytest.raises(MediaError, match=f"3 of the 3 frames .* should have {said}"):
            encode_segment(frames, tmp_path / "a.mp4", fps=Fraction(24), num_frames=said)
    assert not list(tmp_path.iterdir())


def test_a_segment_begins_and_ends_with_a_keyframe(tmp_path: Path) -> None:
    for count in (1, 2, 48, 49, 60):
        path = tmp_path / f"{count}.mp4"
        encode_segment(numbered(range(count)), path, fps=Fraction(24))
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        keys = {packet.pts // packet.duration for packet in packets if packet.is_keyframe}
        assert {0, count - 1} <= keys
        assert len(keys) <= 4


def test_a_full_disk_is_said_so(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(StoreFullError, match="No space was left"):
        encode_segment(numbered(range(5)), tmp_path / "a.mp4", fps=Fraction(24))
    assert not list(tmp_path.iterdir())


def test_devices_and_missing_folders_are_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="not a file"):
        encode_segment(numbered([1]), Path("/dev/full"), fps=Fraction(24))
    with pytest.raises(MediaError, match="folder does not exist"):
        encode_segment(numbered([1]), tmp_path / "none" / "a.mp4", fps=Fraction(24))
