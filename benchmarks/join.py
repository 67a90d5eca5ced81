"""Joining and checking a film, compared with encoding it again.

Joins 120 segments of five seconds of 720p into a film of ten minutes, as the flow of a film does:
copies the packets, shows that the film holds exactly those of the segments, and measures its seams;
with sound, also mixes, encodes and measures that. Then encodes the same segments again into one
film, with and without sound. Prints the ratio of the times. There are 12 different segments, each
used ten times; every second one continues the one before.

    python -m benchmarks.join [--segments 120]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import ffmpeg
import numpy as np

from film.types import SeamReport
from media.atomic_files import ffmpeg_name
from media.encode import encode_segment, output
from media.ffmpeg.frame_pipe import Frame
from media.ffmpeg.run import run
from media.join import Track, concat_list, join_segments
from media.match_headers import SegmentFile
from media.seams import Continuation, measure_seams
from media.sound.flac import write_sound
from media.sound.loudness import gain, measure
from media.sound.mix import Piece, write_soundtrack

FPS = Fraction(24)
FRAMES = 120
WIDTH, HEIGHT = 1280, 720
KINDS = 12
SOUND_RATE = 24_000
GOAL, GOAL_WITH_SOUND = 15.0, 8.0
PATIENCE = 3600.0


def pictures(kind: int) -> Iterator[Frame]:
    """A detailed picture that the camera passes over, with a little grain, as films have it."""
    random = np.random.default_rng(kind)
    wide = np.zeros((HEIGHT + FRAMES, WIDTH + 2 * FRAMES, 3))
    for size in (8, 24, 72):
        rows, columns = -(-wide.shape[0] // size), -(-wide.shape[1] // size)
        coarse = random.normal(0, size / 3, (rows + 1, columns + 1, 3))
        wide += np.kron(coarse, np.ones((size, size, 1)))[: wide.shape[0], : wide.shape[1]]
    scene = np.clip(wide + 110, 0, 255)
    for number in range(FRAMES):
        part = scene[number : number + HEIGHT, 2 * number : 2 * number + WIDTH]
        grain = random.integers(-2, 3, (HEIGHT, WIDTH, 1))
        yield np.clip(part + grain, 0, 255).astype(np.uint8)


def segments(folder: Path, count: int) -> tuple[list[SegmentFile], list[Path]]:
    """Encoded segments and their sounds."""
    made, sounds = [], []
    for kind in range(min(KINDS, count)):
        path = folder / f"{kind}.mp4"
        contents = encode_segment(pictures(kind), path, fps=FPS, num_frames=FRAMES)
        made.append(SegmentFile(path, contents))
        sounds.append(folder / f"{kind}.flac")
        samples = SOUND_RATE * FRAMES // int(FPS)
        noise = np.random.default_rng(kind).normal(0, 0.1, (samples, 2)).astype(np.float32)
        write_sound(noise, sounds[-1], rate=SOUND_RATE)
    return (
        [made[n % len(made)] for n in range(count)],
        [sounds[n % len(made)] for n in range(count)],
    )


def stitch(
    given: list[SegmentFile], sounds: list[Path] | None, folder: Path
) -> tuple[SeamReport, ...]:
    """What the flow of a film does with its segments."""
    counts = [FRAMES] * len(given)
    track = None
    if sounds:
        pieces = [Piece(frames=FRAMES, path=path) for path in sounds]
        loudness = write_soundtrack(pieces, folder / "sound.w64", fps=FPS, native_fps=FPS)
        track = Track(folder / "sound.w64", gain(loudness)) if loudness else None
    film = folder / "film.mp4"
    joined = join_segments(
        given, film, fps=FPS, frames_each=counts, title=None, scratch=folder, sound=track
    )
    seams = [
        Continuation(FRAMES * number, before.end, after.start)
        for number, (before, after) in enumerate(pairwise(joined), 1)
        if number % 2
    ]
    with ThreadPoolExecutor(1) as beside:
        measured = beside.submit(measure, film, folder) if track else None
        reports = measure_seams(film, seams, FPS)
        if measured:
            measured.result()
    return reports


def encode_again(given: list[SegmentFile], sounds: list[Path] | None, folder: Path) -> None:
    """The same film from an encoder, with the options of a segment, and nothing checked."""
    listing = folder / "again.ffconcat"
    paths = [segment.path for segment in given]
    listing.write_bytes(concat_list(paths, [FRAMES] * len(paths), FPS))
    source = ffmpeg.input(ffmpeg_name(listing), format="concat", safe=0).video
    film = output(source, folder / "again.mp4", fps=FPS, crf=18, num_frames=FRAMES * len(paths))
    run(film, doing="encoding the film again", patience=PATIENCE)
    if sounds:
        listing.write_bytes(concat_list(sounds, [FRAMES] * len(sounds), FPS))
        heard = ffmpeg.input(ffmpeg_name(listing), format="concat", safe=0).audio
        encoded = heard.output(ffmpeg_name(folder / "again.m4a"), acodec="aac", ar=48_000)
        run(encoded, doing="encoding its sound again", patience=PATIENCE)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    """Prints the ratios; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=120)
    count = parser.parse_args().segments
    missed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given, sounds = segments(folder, count)
        print(f"{count} segments, {count * FRAMES / FPS} s of {WIDTH}x{HEIGHT}")
        for goal, heard, what in (
            (GOAL, None, "without sound"),
            (GOAL_WITH_SOUND, sounds, "with sound"),
        ):
            ours = seconds(lambda heard=heard: stitch(given, heard, folder))
            again = seconds(lambda heard=heard: encode_again(given, heard, folder))
            ratio = again / ours
            missed |= ratio < goal
            print(
                f"{what}: joined and checked in {ours:.1f} s, encoded again in {again:.1f} s: "
                f"{ratio:.1f} (goal: {goal:g} or more)",
                flush=True,
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
