"""Frames become a segment: H.264 in mp4, made so that segments can be joined without re-encoding.

What each option is for, and what was measured: docs/media.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from film.errors import MediaError
from film.sizes import scale_and_crop
from film.types import VideoContents
from media.atomic_files import ffmpeg_name, replacing
from media.ffmpeg.frame_pipe import Frame, FrameFeed
from media.ffmpeg.run import BITEXACT, run
from media.timescale import rate_text, timescale
from media.verify import read_contents

STALL_SECONDS = 120.0
"""How long ffmpeg may take no frame, and how long it may need for the last ones."""

COLOUR = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
_SCALER = "bicubic+accurate_rnd+bitexact"
"""Rounds to the nearest level (else flat colours are off by 4 instead of 2), and alike on every
make of processor."""
_ENLARGER = "lanczos+accurate_rnd+full_chroma_int+bitexact"
"""Sharper, for pictures that change their size."""

_REORDER = 2
"""Frames by which decoding runs ahead of showing, with x264's B-frames as a pyramid."""

_X264 = {
    "bframes": 3,
    "b-pyramid": "normal",
    "scenecut": 0,
    "open_gop": 0,
    # The same header for every segment, whatever its content and crf.
    "stitchable": 1,
    # The same bytes on every make of processor.
    "cpu-independent": 1,
}


def encode_segment(
    frames: Iterable[Frame],
    path: Path,
    *,
    fps: Fraction,
    size: tuple[int, int] | None = None,
    crf: int = 18,
    num_frames: int | None = None,
    stall_seconds: float = STALL_SECONDS,
) -> VideoContents:
    """Writes `frames` to `path` as H.264 in mp4 with exactly one video frame for each, and decodes
    all of them again; returns what the file holds.

    `frames` is `(frames, height, width, 3) uint8` RGB, or any iterable of `(height, width, 3)`
    of which `num_frames` says the number (if it is None, `len` does); frames are taken from it one
    by one. If `size` (width, height) differs from theirs, they are
    scaled to cover it and cropped equally at both sides. The same frames give the same bytes on
    every run. `path` exists only when it is whole. Raises `MediaError` if frames cannot be encoded
    (odd sides, no frames, frames of several sizes or another number), cannot be decoded again, or
    ffmpeg fails or stalls, `StoreFullError` if
    the disk is full.
    """
    num_frames = len(frames) if num_frames is None else num_frames  # type: ignore[arg-type]
    feed = FrameFeed(frames)
    size = size or (feed.width, feed.height)
    require_even(*size)
    with replacing(path) as partial:
        run(
            output(
                to_yuv(fitted(feed.input(rate_text(fps)), (feed.width, feed.height), size)),
                partial,
                fps=fps,
                crf=crf,
                num_frames=num_frames,
            ),
            doing=f"encoding {path.name}",
            patience=stall_seconds,
            chunks=feed.chunks(),
        )
        contents = read_contents(partial)
        if not contents.num_frames == feed.count == num_frames:
            raise MediaError(
                f"{path.name} has {contents.num_frames} of the {feed.count} frames that were "
                f"given, and should have {num_frames}."
            )
        return contents


def require_even(width: int, height: int) -> None:
    """Raises `MediaError` if a side is odd: colour is kept for blocks of 2 by 2 pixels."""
    if width % 2 or height % 2:
        raise MediaError(
            f"A video of {width}x{height} pixels cannot be encoded: "
            "both sides must be even, so that every player can show it."
        )


def fitted(rgb: Any, have: tuple[int, int], size: tuple[int, int]) -> Any:
    """RGB stream of `have` (width, height) as one of `size`: scaled to cover it, then cropped."""
    if have == size:
        return rgb
    (width, height), _ = scale_and_crop(have, size)
    return rgb.filter("scale", width, height, flags=_ENLARGER).filter("crop", *size)


def to_yuv(rgb: Any) -> Any:
    """RGB stream to limited-range BT.709 yuv420p, converted *and* tagged as such."""
    return (
        rgb.filter("scale", in_range="pc", out_range="tv", out_color_matrix="bt709", flags=_SCALER)
        .filter("format", "yuv420p")
        .filter("setparams", range="tv", **COLOUR)
    )


def output(stream: Any, path: Path, *, fps: Fraction, crf: int, num_frames: int) -> Any:
    """The output node of a segment: every segment of a film goes through the same options."""
    options = {
        "format": "mp4",
        "vcodec": "libx264",
        "preset": "veryfast",
        "crf": crf,
        "profile:v": "high",
        "g": 48,
        # A seam is measured from two keyframes: the last one before it and the first one after it.
        "force_key_frames": f"expr:eq(n,{num_frames - 1})",
        "x264-params": ":".join(f"{name}={value}" for name, value in _X264.items()),
        # x264's choices depend on the number of threads; a fixed one gives the same bytes.
        "threads": 4,
        "fps_mode": "passthrough",
        "enc_time_base": f"{fps.denominator}/{fps.numerator}",
        # x264 gives segments of one or two frames no reordering delay, and a longer one that
        # follows would start to be decoded before they are over. So all have the same delay.
        "bsf:v": f"setts=pts=PTS:dts=N-{_REORDER}",
        # Every frame lasts whole ticks in the track, and so does the film in the header.
        "video_track_timescale": timescale(fps),
        "movie_timescale": timescale(fps),
        "movflags": "+faststart",
        **BITEXACT,
    }
    return stream.output(ffmpeg_name(path), **options)
