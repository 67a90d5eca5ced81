"""Segments that can be joined by copying: those with another header are encoded again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg

from film.types import VideoContents
from media.atomic_files import ffmpeg_name
from media.encode import COLOUR, output
from media.ffmpeg.run import run
from media.verify import read_contents

CRF = 16
"""A little finer than a first encode: what is lost twice should not be seen."""


@dataclass(frozen=True)
class SegmentFile:
    """The encoded frames of a segment on this machine, and what they are."""

    path: Path
    contents: VideoContents


def matched(
    segments: Sequence[SegmentFile], *, fps: Fraction, scratch: Path, patience: float
) -> list[SegmentFile]:
    """`segments`, some replaced by new encodes in `scratch` if their headers differ.

    The header that most segments have is kept, and the others are encoded again. If that does not
    give them this header (another version of the encoder made it), all are. Raises `MediaError`.
    """
    headers = [segment.contents.header_sha256 for segment in segments]
    common = Counter(headers).most_common(1)[0][0]
    files = list(segments)
    odd = [index for index, header in enumerate(headers) if header != common]
    for position, index in enumerate(odd):
        files[index] = _again(segments[index], scratch / f"{index:06}.mp4", fps, patience)
        if position == 0 and files[index].contents.header_sha256 != common:
            # Once is enough to know: the same encoder gives all of them the same header.
            return [
                _again(segment, scratch / f"{number:06}.mp4", fps, patience)
                for number, segment in enumerate(segments)
            ]
    return files


def _again(segment: SegmentFile, to: Path, fps: Fraction, patience: float) -> SegmentFile:
    path, num_frames = segment.path, segment.contents.num_frames
    source = (
        ffmpeg.input(ffmpeg_name(path))
        .video.filter("format", "yuv420p")
        # A segment without tags would get another header than the others again.
        .filter("setparams", range="tv", **COLOUR)
    )
    run(
        output(source, to, fps=fps, crf=CRF, num_frames=num_frames),
        doing=f"encoding {path.name} again",
        patience=patience,
    )
    return SegmentFile(to, read_contents(to))
