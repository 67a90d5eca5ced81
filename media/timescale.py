"""Frame rates as ffmpeg and mp4 files want them, exact."""

from __future__ import annotations

from fractions import Fraction

from film.errors import MediaError

FINEST_TIMESCALE = 500_000
"""Ticks per second. The concat demuxer counts in microseconds; a tick of at least two of them
makes its rounding harmless."""

USUAL_TIMESCALE = 24_000
"""A multiple of 24, 25, 30, 48, 50, 60 and of 24000/1001's numerator."""

LARGEST_TERM = 1_000_000
"""ffmpeg reads rates exactly only while both terms are below 1,001,000 (av_parse_video_rate)."""

LARGEST_STEP = 2**31 - 1
"""Ticks of one frame in an mp4 file (the sample delta of `stts`)."""


def timescale(fps: Fraction) -> int:
    """Ticks per second of an mp4 track in which every frame of `fps` lasts whole ticks.

    The smallest multiple of the rate's numerator that is at least `USUAL_TIMESCALE`.
    Raises `MediaError` for a rate that no file can hold exactly.
    """
    check_rate(fps)
    return _timescale(fps)


def rate_text(fps: Fraction) -> str:
    """`fps` as ffmpeg reads it: `24000/1001`. Raises `MediaError` as `timescale` does."""
    check_rate(fps)
    return f"{fps.numerator}/{fps.denominator}"


def check_rate(fps: Fraction) -> None:
    """Raises `MediaError` if `fps` is not positive or not exact in a file."""
    if fps <= 0:
        raise MediaError(f"A frame rate must be above 0, not {fps}.")
    if max(fps.numerator, fps.denominator) > LARGEST_TERM or (
        _timescale(fps) > FINEST_TIMESCALE or _timescale(fps) / fps > LARGEST_STEP
    ):
        raise MediaError(
            f"No video file holds the frame rate {fps} exactly; "
            "write it as a fraction of small numbers, such as 24 or 24000/1001."
        )


def _timescale(fps: Fraction) -> int:
    return fps.numerator * -(-USUAL_TIMESCALE // fps.numerator)
