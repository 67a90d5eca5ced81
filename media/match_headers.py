"""Segments that can be joined by copying: those with another header are encoded again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import ffmpeg

from media.atomic_files import ffmpeg_name
from media.encode import output
from media.ffmpeg.run import run
from media.probe import VideoInfo, probe

CRF = 16
"""A little finer than a first encode: what is lost twice should not be seen."""


def matched(
    paths: Sequence[Path],
    infos: Sequence[VideoInfo],
    *,
    fps: Fraction,
    scratch: Path,
    patience: float,
) -> list[Path]:
    """`paths`, with segments replaced by new encodes in `scratch` if their headers differ.

    The header that most segments have is kept, and the others are encoded again. If that does not
    give them this header (another version of the encoder made it), all are.
    """
    headers = [info.extradata_sha256 for info in infos]
    common = Counter(headers).most_common(1)[0][0]
    files = list(paths)
    odd = [index for index, header in enumerate(headers) if header != common]
    for position, index in enumerate(odd):
        files[index] = _again(paths[index], scratch / f"{index:06}.mp4", fps, patience)
        if position == 0 and probe(files[index]).extradata_sha256 != common:
            # Once is enough to know: the same encoder gives all of them the same header.
            return [
                _again(path, scratch / f"{number:06}.mp4", fps, patience)
                for number, path in enumerate(paths)
            ]
    return files


def _again(path: Path, to: Path, fps: Fraction, patience: float) -> Path:
    source = ffmpeg.input(ffmpeg_name(path)).video.filter("format", "yuv420p")
    run(
        output(source, to, fps=fps, crf=CRF),
        doing=f"encoding {path.name} again",
        patience=patience,
    )
    return to
