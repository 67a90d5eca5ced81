"""What a video file holds, from its packets: nothing is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from film.errors import MediaError
from media.decode import opened
from media.packets import Stamp, counts, stamp_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundInfo:
    """The sound of a video."""

    codec: str
    """As ffmpeg names it: `aac`."""
    sample_rate: int
    """Samples a second."""
    channels: int
    start: int
    """First sample that is played, by the film's clock."""
    samples: int
    """Number of samples that are played, without those that an edit list hides."""


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
    """Exact if `evenly_spaced`; else the average that the file states."""
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
    sound: SoundInfo | None = None


def probe(path: Path) -> VideoInfo:
    """Reads the packets of `path`. Raises `MediaError` if it is not a whole video."""
    with opened(path) as container:
        streams = [container.streams.video[0], *container.streams.audio[:1]]
        stamps: dict[int, list[Stamp]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if counts(packet):
                stamps[packet.stream_index].append(stamp_of(packet, path))
        return describe(streams, stamps, path)


def describe(
    streams: Sequence[Any], stamps: Mapping[int, Sequence[Stamp]], path: Path
) -> VideoInfo:
    """What `path` holds: a video stream and perhaps one of sound, and the times of their packets by
    the index of the stream. Raises `MediaError` if it holds no frames."""
    if not stamps[streams[0].index]:
        raise MediaError(f"{path} holds no frames.")
    sound = [_sound(stream, stamps[stream.index]) for stream in streams[1:]]
    return _info(streams[0], stamps[streams[0].index], *sound)


def header_digest(stream: Any) -> str:
    """Digest of the decoder's header of a video stream."""
    return hashlib.sha256(stream.codec_context.extradata or b"").hexdigest()


def _sound(stream: Any, stamps: Sequence[Stamp]) -> SoundInfo:
    rate = stream.codec_context.sample_rate
    ticks = sum(stamp.duration for stamp in stamps)
    return SoundInfo(
        codec=stream.codec_context.name,
        sample_rate=rate,
        channels=stream.codec_context.channels,
        start=round(min((s.pts for s in stamps), default=0) * stream.time_base * rate),
        samples=round(ticks * stream.time_base * rate),
    )


def _info(stream: Any, stamps: Sequence[Stamp], sound: SoundInfo | None = None) -> VideoInfo:
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
        extradata_sha256=header_digest(stream),
        sound=sound,
    )
