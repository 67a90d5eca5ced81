"""Segments become a film: joined by copying, with title and chapters, every frame accounted for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import ffmpeg

from film.errors import MediaError
from film.timeline import sample_at
from film.types import VideoContents
from media.atomic_files import ffmpeg_name, raise_if_full, replacing
from media.chapters import Chapter, metadata_text
from media.ffmpeg.run import BITEXACT, BITEXACT_SOUND, SAME_EVERYWHERE, run
from media.match_headers import SegmentFile, matched
from media.timescale import timescale
from media.verify import SOUND_CHANNELS, SOUND_CODEC, SOUND_RATE, verify_joined

MICROSECONDS = 1_000_000
SLOWEST_BYTES_PER_SECOND = 2_000_000
"""A disk slower than this counts as one that does not answer."""
LEAST_PATIENCE = 120.0
"""Seconds."""
SOUND_BITS = 192_000
"""A second."""


@dataclass(frozen=True)
class Track:
    """The sound of a film on its way into it."""

    path: Path
    """As `write_soundtrack` made it."""
    gain: float
    """Decibels."""


def join_segments(
    segments: Sequence[SegmentFile],
    out: Path,
    *,
    fps: Fraction,
    frames_each: Sequence[int],
    title: str | None,
    chapters: Sequence[Chapter] = (),
    scratch: Path,
    sound: Track | None = None,
) -> list[VideoContents]:
    """Joins `segments`, in order, into the mp4 file `out`, and shows of it that it holds exactly
    their packets, each frame n shown at exactly n/fps seconds; returns what each of them is in it.

    Segment i must hold `frames_each[i]` frames of the rate `fps`. Nothing is encoded again, except
    segments whose H.264 header differs from the others'. `chapters` are pairs of a title and the
    frame at which it starts; the first starts at 0. `sound` becomes AAC next to the pictures, which
    are the same without it. `scratch` is a folder (created if it is missing) for temporary files.
    The same input gives the same bytes.

    Raises `MediaError` if a segment is missing, cut off or of another size, rate or count, or the
    film is not exactly what was given, and `StoreFullError` if the disk is full; `out` is then not
    written.
    """
    _require_fit(segments, frames_each, fps)
    metadata = metadata_text(title, chapters, num_frames=sum(frames_each), fps=fps)
    try:
        read = [*(segment.path for segment in segments), *([sound.path] if sound else [])]
        patience = LEAST_PATIENCE + _bytes(read) / SLOWEST_BYTES_PER_SECOND
        scratch.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="join-") as folder,
            replacing(out) as partial,
        ):
            files = matched(segments, fps=fps, scratch=Path(folder), patience=patience)
            paths = [file.path for file in files]
            _concat(paths, partial, metadata, frames_each, fps, Path(folder), patience, sound)
            contents = [file.contents for file in files]
            _verify(partial, out, contents, fps, sound)
            return contents
    except OSError as error:
        raise_if_full(error, out)
        raise


def _require_fit(
    segments: Sequence[SegmentFile], frames_each: Sequence[int], fps: Fraction
) -> None:
    """Raises `MediaError` at the first segment that does not fit."""
    if not segments or len(segments) != len(frames_each):
        raise MediaError(f"Cannot join {len(segments)} segments with {len(frames_each)} lengths.")
    first = segments[0].contents
    for segment, count in zip(segments, frames_each, strict=True):
        found = segment.contents
        expected = {
            "frames": (found.num_frames, count),
            "pixels": (f"{found.width}x{found.height}", f"{first.width}x{first.height}"),
            "frames per second": (found.fps, fps),
        }
        wrong = [f"{is_} {what} instead of {x}" for what, (is_, x) in expected.items() if is_ != x]
        if wrong:
            has = ", ".join(wrong)
            raise MediaError(f"{segment.path} is not what was planned: it has {has}.")


def _bytes(paths: Sequence[Path]) -> int:
    try:
        return sum(path.stat().st_size for path in paths)
    except FileNotFoundError as error:
        raise MediaError(f"{error.filename} is not there.") from error


def _concat(
    files: Sequence[Path],
    out: Path,
    metadata: str,
    frames_each: Sequence[int],
    fps: Fraction,
    folder: Path,
    patience: float,
    sound: Track | None,
) -> None:
    listing = folder / "segments.ffconcat"
    listing.write_bytes(concat_list(files, frames_each, fps))
    described = folder / "metadata.txt"
    described.write_text(metadata, encoding="utf-8", newline="")
    pictures = ffmpeg.input(ffmpeg_name(listing), format="concat", safe=0, auto_convert=0)
    words = ffmpeg.input(ffmpeg_name(described), format="ffmetadata")
    options = {
        "format": "mp4",
        "vcodec": "copy",
        "video_track_timescale": timescale(fps),
        "movie_timescale": timescale(fps),
        "movflags": "+faststart",
        **BITEXACT,
        **(_SOUND_OPTIONS if sound else {}),
        "map_metadata": 1,
        "map_chapters": 1,
    }
    # The metadata file has no streams: `d?` matches nothing, and makes it an input.
    streams = [pictures.video, words["d?"], *([_audible(sound)] if sound else [])]
    graph = ffmpeg.output(*streams, ffmpeg_name(out), **options)
    if sound:
        graph = graph.global_args(*SAME_EVERYWHERE)
    run(graph, doing=f"joining {len(files)} segments", patience=patience)


_SOUND_OPTIONS = {
    **BITEXACT_SOUND,
    "acodec": SOUND_CODEC,
    "b:a": SOUND_BITS,
    "ar": SOUND_RATE,
    "ac": SOUND_CHANNELS,
}


def _audible(sound: Track) -> Any:
    return ffmpeg.input(ffmpeg_name(sound.path)).audio.filter("volume", f"{sound.gain:.2f}dB")


def concat_list(files: Sequence[Path], frames_each: Sequence[int], fps: Fraction) -> bytes:
    """The list that ffmpeg's concat demuxer reads: each file with its length.

    Lengths are in whole microseconds, the demuxer's unit. They are differences of rounded
    *starts*, so that a thousand of them are still within half a microsecond of the truth.
    """
    ends = accumulate(frames_each, initial=0)
    marks = [round(frames / fps * MICROSECONDS) for frames in ends]
    lines = [b"ffconcat version 1.0"]
    for path, (start, end) in zip(files, pairwise(marks), strict=True):
        lines.append(b"file " + _quoted(path))
        lines.append(b"duration %dus" % (end - start))
    return b"\n".join(lines) + b"\n"


def _quoted(path: Path) -> bytes:
    name = os.fsencode(ffmpeg_name(path))
    if b"\n" in name or b"\r" in name:
        raise MediaError(f"{str(path)!r} cannot be joined: there is a line break in its name.")
    return b"'" + name.replace(b"'", b"'\\''") + b"'"


def _verify(
    partial: Path,
    out: Path,
    segments: Sequence[VideoContents],
    fps: Fraction,
    sound: Track | None,
) -> None:
    num_frames = sum(segment.num_frames for segment in segments)
    samples = sample_at(num_frames, fps, SOUND_RATE) if sound else None
    try:
        verify_joined(partial, segments, sound_samples=samples)
    except MediaError as error:
        raise MediaError(str(error).replace(str(partial), str(out))) from error
