"""Is a file the film or the segment that was planned, and does a picture show anything?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

from film.errors import MediaError
from film.types import VideoContents
from media.decode import decoded, opened
from media.ffmpeg.frame_pipe import Frame
from media.packets import PacketDigest, Stamp, counts, frame_number, stamp_of
from media.probe import SoundInfo, VideoInfo, describe, header_digest, probe
from media.seams import EndMeter

FLAT_LEVELS = 2
"""Levels of 255 within which a whole frame counts as one colour. Rounding moves a flat colour
by 1; any scene, however dark, has more than that somewhere."""

SOUND_CODEC, SOUND_RATE, SOUND_CHANNELS = "aac", 48_000, 2
"""Format of every film that has sound; the rate is in samples a second."""

AAC_FRAME = 1024
"""Samples that one packet of AAC holds."""

BLACK_LEVEL = 8
"""Highest level of 255 of a flat frame that is called black."""


def read_contents(path: Path) -> VideoContents:
    """What the segment `path` holds, from decoding every frame of it.

    Raises `MediaError` if a frame is damaged, or is not shown at its time.
    """
    digest, meter = PacketDigest(), EndMeter()
    stamps: list[Stamp] = []
    shown = 0
    with opened(path) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if counts(packet):
                stamps.append(stamp_of(packet, path))
                digest.add(packet, frame_number(stamps[-1]))
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise MediaError(f"{path} is damaged at {frame.time:.3f} s.")
                if frame.pts != shown * stamps[0].duration:
                    raise MediaError(f"{path} shows frame {shown} out of order.")
                meter.see(frame)
                shown += 1
        info = describe([stream], {stream.index: stamps}, path)
        _require(path, info, info.num_frames, info.width, info.height, info.fps, None)
    if shown != info.num_frames:
        raise MediaError(f"{path} holds {info.num_frames} frames, but {shown} can be decoded.")
    start, end = meter.ends()
    return VideoContents(
        num_frames=shown,
        width=info.width,
        height=info.height,
        fps=info.fps,
        header_sha256=info.extradata_sha256,
        packets_sha256=digest.hexdigest(),
        start=start,
        end=end,
    )


def verify_joined(
    path: Path, segments: Sequence[VideoContents], *, sound_samples: int | None = None
) -> None:
    """Raises `MediaError` if the film `path` does not hold exactly the packets of `segments`, in
    their order, each frame shown at exactly its number divided by the rate.

    `segments` were decoded before (`read_contents`), so that the film's pictures are not decoded
    again; the file is read once. Its sound, which is new, is decoded. `sound_samples` as in
    `verify_film`.
    """
    first = segments[0]
    runs = _Runs(path, segments)
    with opened(path) as container:
        streams = [container.streams.video[0], *container.streams.audio[:1]]
        stamps: dict[int, list[Stamp]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if counts(packet):
                stamps[packet.stream_index].append(stamp_of(packet, path))
                if packet.stream_index == streams[0].index:
                    runs.add(packet, stamps[packet.stream_index][-1])
        info = describe(streams, stamps, path)
        header = header_digest(streams[0])
    num_frames = sum(segment.num_frames for segment in segments)
    _require(path, info, num_frames, first.width, first.height, first.fps, sound_samples)
    if any(segment.header_sha256 != header for segment in segments):
        raise MediaError(f"{path} has another decoder's header than its segments.")
    if info.sound:
        _decode_sound(path, info.sound)


class _Runs:
    """The packets of a film, compared with those of its segments, one segment after the other."""

    def __init__(self, path: Path, segments: Sequence[VideoContents]) -> None:
        self._path = path
        starts = accumulate((segment.num_frames for segment in segments), initial=0)
        self._rest: Iterator[tuple[int, tuple[int, VideoContents]]] = enumerate(
            zip(starts, segments, strict=False), 1
        )
        self._next()

    def _next(self) -> None:
        self._segment: VideoContents | None
        self._number, (self._start, self._segment) = next(self._rest, (0, (0, None)))
        self._digest = PacketDigest()
        self._count = 0

    def add(self, packet: Any, stamp: Stamp) -> None:
        """The next packet. Raises `MediaError` at the end of a segment that it does not fit."""
        if self._segment is None:
            return  # too many: the number of frames is compared as well
        self._digest.add(packet, frame_number(stamp) - self._start)
        self._count += 1
        if self._count < self._segment.num_frames:
            return
        if self._digest.hexdigest() != self._segment.packets_sha256:
            end = self._start + self._count - 1
            raise MediaError(
                f"{self._path} is not what was rendered: frames {self._start} to {end} are not "
                f"those of segment {self._number}, or not shown at their times."
            )
        self._next()


def verify_film(
    path: Path,
    *,
    num_frames: int,
    width: int,
    height: int,
    fps: Fraction,
    sound_samples: int | None = None,
    decode: bool = True,
) -> VideoInfo:
    """Raises `MediaError` naming the difference from the plan; returns what was found.

    `sound_samples` is the number of samples of sound that it should have, None for no sound.
    Without `decode` the packets are checked (count, order, times, size, rate: reads the file once).
    With it every frame is decoded as well, and damage anywhere is found.
    """
    info = probe(path)
    _require(path, info, num_frames, width, height, fps, sound_samples)
    if decode:
        _decode_all(path, info)
    return info


def _require(
    path: Path,
    info: VideoInfo,
    num_frames: int,
    width: int,
    height: int,
    fps: Fraction,
    sound_samples: int | None,
) -> None:
    expected = {
        "frames": (info.num_frames, num_frames),
        "pixels": (f"{info.width}x{info.height}", f"{width}x{height}"),
        "frames per second": (info.fps, fps),
        "seconds at its start": (info.start_seconds, Fraction(0)),
        "seconds": (info.seconds, num_frames / fps),
    }
    wrong = [
        f"{is_} {what} instead of {should}"
        for what, (is_, should) in expected.items()
        if is_ != should
    ]
    wrong += _wrong_sound(info.sound, sound_samples)
    if not info.monotone:
        wrong.append("times that do not increase")
    if not info.evenly_spaced:
        wrong.append("frames of unequal length")
    if wrong:
        raise MediaError(f"{path} is not what was planned: it has {', '.join(wrong)}.")


def _wrong_sound(sound: SoundInfo | None, samples: int | None) -> list[str]:
    """The first difference from AAC of that number of samples, to an AAC frame, from the first
    picture on."""
    if sound is None or samples is None:
        same = sound is None and samples is None
        return [] if same else ["sound that was not planned" if sound else "no sound"]
    expected = {
        "as the codec of its sound": (sound.codec, SOUND_CODEC),
        "samples of sound a second": (sound.sample_rate, SOUND_RATE),
        "channels of sound": (sound.channels, SOUND_CHANNELS),
        "samples before its sound begins": (sound.start, 0),
    }
    wrong = [f"{is_} {what} instead of {x}" for what, (is_, x) in expected.items() if is_ != x]
    if abs(sound.samples - samples) > AAC_FRAME:
        wrong.append(f"{sound.samples} samples of sound instead of {samples}")
    return wrong


def _decode_all(path: Path, info: VideoInfo) -> None:
    last = -1
    count = 0
    with opened(path) as container:
        for frame in decoded(container, path):
            if frame.pts is None or frame.pts <= last:
                raise MediaError(f"{path} shows frame {count} out of order.")
            last = frame.pts
            count += 1
    if count != info.num_frames:
        raise MediaError(f"{path} holds {info.num_frames} frames, but {count} can be decoded.")
    if info.sound:
        _decode_sound(path, info.sound)


def _decode_sound(path: Path, info: SoundInfo) -> None:
    with opened(path, "sound") as container:
        count = sum(frame.samples for frame in decoded(container, path, "sound"))
    # The last frame of AAC is a whole one, whatever part of it is played.
    if not info.samples <= count < info.samples + AAC_FRAME:
        raise MediaError(f"{path} has {info.samples} samples of sound; {count} can be decoded.")


def picture_problem(frames: Iterable[Frame]) -> str | None:
    """What is plainly wrong with rendered `(frames, height, width, 3) uint8` RGB, or `None`.

    Only a picture without anything in it is reported: every frame of the segment one flat
    colour. A still, a night, fog or a fade is not. Cheap: stops at the first frame that shows
    something, which in a sound segment is the first.
    """
    count = 0
    brightest = 0
    for frame in frames:
        if not _flat(frame):
            return None
        brightest = max(brightest, int(frame.max()))
        count += 1
    if not count:
        return "there are no frames"
    colour = "black" if brightest <= BLACK_LEVEL else "one flat colour"
    return f"all {count} frames are {colour}, from edge to edge"


def _flat(frame: Frame) -> bool:
    low = frame.min(axis=(0, 1)).astype(int)
    high = frame.max(axis=(0, 1)).astype(int)
    return bool((high - low <= FLAT_LEVELS).all())
