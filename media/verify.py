"""Is a file the film that was planned, and does a picture show anything?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from film.errors import MediaError
from media.decode import decoded, opened
from media.ffmpeg.frame_pipe import Frame
from media.probe import SoundInfo, VideoInfo, probe

FLAT_LEVELS = 2
"""Levels of 255 within which a whole frame counts as one colour. Rounding moves a flat colour
by 1; any scene, however dark, has more than that somewhere."""

SOUND_CODEC, SOUND_RATE, SOUND_CHANNELS = "aac", 48_000, 2
"""Format of every film that has sound; the rate is in samples a second."""

AAC_FRAME = 1024
"""Samples that one packet of AAC holds."""

BLACK_LEVEL = 8
"""Highest level of 255 of a flat frame that is called black."""


def verify_film(
    path: Path,
    *,
    num_frames: int,
    width: int,
    height: int,
    fps: Fraction,
    sound_samples: int | None = None,
    decode: bool = True,
    seen: Callable[[int, Any], None] = lambda number, frame: None,
) -> VideoInfo:
    """Raises `MediaError` naming the difference from the plan; returns what was found.

    `sound_samples` is the number of samples of sound that it should have, None for no sound.
    Without `decode` the packets are checked (count, order, times, size, rate: reads the file once).
    With it every frame is decoded as well, and damage anywhere is found; `seen` is then called with
    each frame and its number.
    """
    info = probe(path)
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
    if decode:
        _decode_all(path, info, seen)
    return info


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


def _decode_all(path: Path, info: VideoInfo, seen: Callable[[int, Any], None]) -> None:
    last = -1
    count = 0
    with opened(path) as container:
        for frame in decoded(container, path):
            if frame.pts is None or frame.pts <= last:
                raise MediaError(f"{path} shows frame {count} out of order.")
            seen(count, frame)
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
