"""Title and chapters in ffmpeg's metadata file format.

Format: https://ffmpeg.org/ffmpeg-formats.html#Metadata-2
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from film.errors import MediaError

Chapter = tuple[str, int]
"""Title, and the frame of the film at which it starts."""

LONGEST_CHAPTER_TITLE = 255
"""Bytes of UTF-8: the length in mp4's chapter list (`chpl`) is one byte."""

_SPECIAL = re.compile(r"([=;#\\\n\r])")


def metadata_text(
    title: str | None, chapters: Sequence[Chapter], *, num_frames: int, fps: Fraction
) -> str:
    """The metadata file of a film of `num_frames` frames. Each chapter lasts until the next.

    Raises `MediaError` if chapters are not in order, end outside the film, or do not start with its
    first frame (mp4's chapter track has no room for a gap before them).
    """
    starts = [start for _, start in chapters]
    marks = [*starts, num_frames]
    if (starts and starts[0] != 0) or any(a >= b for a, b in pairwise(marks)):
        raise MediaError(
            "Chapters must start at frame 0 and follow in order within the film's "
            f"{num_frames} frames, not at {starts}."
        )
    lines = [";FFMETADATA1"]
    if title:
        lines.append(f"title={escaped(title)}")
    for (name, start), end in zip(chapters, marks[1:], strict=True):
        lines += [
            "[CHAPTER]",
            # One tick is one frame, so that chapters start exactly at theirs.
            f"TIMEBASE={fps.denominator}/{fps.numerator}",
            f"START={start}",
            f"END={end}",
            f"title={escaped(shortened(name))}",
        ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """`text` as a value in the metadata file; a space is added after a last backslash."""
    whole = text.replace("\0", "").encode(errors="replace").decode()
    # ffmpeg takes a line break after an escaped backslash for an escaped one.
    closed = f"{whole} " if whole.endswith("\\") else whole
    return _SPECIAL.sub(r"\\\1", closed)


def shortened(title: str) -> str:
    """`title` cut between two characters, so that it fits into mp4's chapter list."""
    text = title.encode(errors="replace")
    if len(text) <= LONGEST_CHAPTER_TITLE:
        return title
    return text[: LONGEST_CHAPTER_TITLE - 3].decode(errors="ignore") + "…"
