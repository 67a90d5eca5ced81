"""What a video file holds, from its packets: nothing is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from film.errors import MediaError
from media.decode import opened


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoInfo:
    """What `probe` found."""

    num_frames: int
    """Packets of the picture; each holds one frame."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: Fraction
    """Exact where `evenly_spaced`; else the average the file states."""
    codec: str
    """As ffmpeg names it: `h264`, `ffv1`."""
    pixel_format: str
    """As ffmpeg names it: `yuv420p`, `bgr0`."""
    start_seconds: Fraction
    """When the first frame is shown."""
    seconds: Fraction
    """From the first frame until the last one is over, exact."""
    time_base: Fraction
    """Seconds of one tick; all times are multiples of it."""
    monotone: bool
    """Decoding times increase strictly, and no two frames are shown at the same time."""
    evenly_spaced: bool
    """Every frame lasts equally many ticks, the last one included."""
    extradata_sha256: str
    """Digest of the decoder's header; only segments with the same can be joined by copying."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Times of one packet, in ticks."""

    pts: int
    dts: int
    duration: int


def probe(path: Path) -> VideoInfo:
    """Reads the packets of `path`. Raises `MediaError` where it is not a whole video."""
    with opened(path) as container:
        stream = container.streams.video[0]
        stamps = [_stamp(packet, path) for packet in container.demux(stream) if _counts(packet)]
        if not stamps:
            raise MediaError(f"{path} holds no frames.")
        return _info(stream, stamps)


def _counts(packet: Any) -> bool:
    # PyAV ends with an empty packet that flushes decoders; an edit list may hide packets.
    return packet.size > 0 and not packet.is_discard


def _stamp(packet: Any, path: Path) -> _Stamp:
    if packet.is_corrupt:
        raise MediaError(f"{path} is cut off or damaged.")
    if packet.pts is None:
        raise MediaError(f"{path} does not say when its frames are shown.")
    dts = packet.pts if packet.dts is None else packet.dts
    return _Stamp(packet.pts, dts, packet.duration or 0)


def _info(stream: Any, stamps: Sequence[_Stamp]) -> VideoInfo:
    shown = sorted(stamps, key=lambda stamp: stamp.pts)
    steps = {b.pts - a.pts for a, b in pairwise(shown)} | {shown[-1].duration}
    even = len(steps) == 1 and min(steps) > 0
    tick = Fraction(stream.time_base)
    return VideoInfo(
        num_frames=len(stamps),
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        fps=1 / (min(steps) * tick) if even else Fraction(stream.average_rate or 0),
        codec=stream.codec_context.name,
        pixel_format=str(stream.codec_context.pix_fmt),
        start_seconds=shown[0].pts * tick,
        seconds=(shown[-1].pts + shown[-1].duration - shown[0].pts) * tick,
        time_base=tick,
        monotone=0 not in steps and all(a.dts < b.dts for a, b in pairwise(stamps)),
        evenly_spaced=even,
        extradata_sha256=hashlib.sha256(stream.codec_context.extradata or b"").hexdigest(),
    )
