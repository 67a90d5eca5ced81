"""Sound: the same samples out of a file as in, no click at a seam, and not a sample too many."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_pictures import numbered

from film.errors import MediaError, StoreFullError
from film.timeline import sample_at
from media.encode import encode_segment
from media.join import Track, join_segments
from media.match_headers import SegmentFile
from media.sound.flac import Samples, read_sound, write_sound
from media.sound.loudness import CEILING, MOST_GAIN, TARGET, Loudness, gain, measure
from media.sound.mix import Piece, crossfade, joined, tempos, write_soundtrack
from media.verify import verify_film

NTSC = Fraction(24000, 1001)
RATE = 24_000
HERTZ = 440


def tone(begin: int, end: int, rate: int = RATE, hertz: float = HERTZ) -> Samples:
    """The samples from `begin` to `end` of one endless sine, in both channels, at -6 dB."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(begin, end) / rate)
    return np.stack([wave, wave], axis=1).astype(np.float32)


def steepest(samples: Samples) -> float:
    """The largest step from a sample to the next."""
    return float(np.abs(np.diff(samples.astype(np.float64), axis=0)).max())


STEP = steepest(tone(0, RATE)) + 2**-22
"""The sine's, and what rounding to 24 bits adds at most."""


def cut_up(
    folder: Path,
    frames_each: list[int],
    fps: Fraction,
    rate: int = RATE,
    *,
    echo: int = 0,
    missing: int = 0,
    phase: int = 0,
) -> list[Piece]:
    """The sine in pieces, as segments would have it: each, counted from its own beginning, holds
    `echo` frames of what came before, ends `missing` samples early, and is `phase` samples on."""
    pieces, first = [], 0
    for number, frames in enumerate(frames_each):
        before = echo if number else 0
        origin = sample_at(first, fps, rate) - sample_at(before, fps, rate) + number * phase
        length = sample_at(before + frames, fps, rate) - missing
        path = folder / f"it's {number}.flac"
        write_sound(tone(origin, origin + length, rate), path, rate=rate)
        lead = sample_at(before, fps, rate)
        pieces.append(Piece(frames, path, lead, continued=number > 0))
        first += frames
    return pieces


def join_up(pieces: list[Piece], fps: Fraction, rate: int = RATE) -> Samples:
    return np.concatenate(list(joined(pieces, fps, rate)))


# -- files


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_come_back_to_24_bits_and_the_same_bytes_again(
    channels: int, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).uniform(-1.1, 1.1, (50_001, channels)).astype(np.float32)
    for name in ("a.flac", "b.flac"):
        write_sound(noise, tmp_path / name, rate=RATE)
    samples, rate = read_sound(tmp_path / "a.flac")
    assert (samples.shape, samples.dtype, rate) == ((50_001, 2), np.dtype(np.float32), RATE)
    assert np.abs(samples - np.clip(noise, -1, 1)).max() <= 2**-23
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_silence_is_sound_and_so_are_a_few_samples(tmp_path: Path) -> None:
    for count in (16, 4096 + 1, 5000):
        write_sound(np.zeros((count, 2), np.float32), tmp_path / "a.flac", rate=RATE)
        samples, _ = read_sound(tmp_path / "a.flac")
        assert samples.shape == (count, 2)
        assert not samples.any()


@pytest.mark.parametrize(
    "samples", [np.zeros((15, 2)), np.zeros((99, 3)), np.zeros(99), np.full((99, 2), np.nan)]
)
def test_what_is_no_sound_is_refused(samples: Any, tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        write_sound(samples.astype(np.float32), tmp_path / "a.flac", rate=RATE)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_so(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(StoreFullError):
        write_sound(tone(0, 200_000), tmp_path / "a.flac", rate=RATE)


@pytest.mark.parametrize("what", ["missing", "text", "flipped", "cut off", "a frame less"])
def test_a_damaged_file_is_an_error(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).uniform(-1, 1, (30_000, 2)).astype(np.float32)
    write_sound(noise, path, rate=RATE)
    data = bytearray(path.read_bytes())
    if what == "flipped":
        data[len(data) // 2] ^= 16
    path.write_bytes(
        {
            "text": b"no sound, but long enough to be taken for something\n" * 50,
            "cut off": data[: len(data) // 2],
            "a frame less": data[: data.rindex(b"\xff\xf8")],
        }.get(what, data)
    )
    if what == "missing":
        path.unlink()
    with pytest.raises(MediaError):
        read_sound(path)


# -- seams


@pytest.mark.parametrize(
    ("rate", "fps", "missing"),
    [(24_000, NTSC, 0), (16_000, NTSC, 700), (44_100, Fraction(47, 3), 1), (48_000, NTSC, 2400)],
)
def test_a_sine_in_pieces_is_one_sine_again(
    rate: int, fps: Fraction, missing: int, tmp_path: Path
) -> None:
    frames = [50, 7, 31, 3, 48]
    pieces = cut_up(tmp_path, frames, fps, rate, echo=17, missing=missing)
    sound = join_up(pieces, fps, rate)
    whole = tone(0, sample_at(sum(frames), fps, rate), rate)
    assert sound.shape == whole.shape
    heard = len(whole) - missing - rate // 100
    # A piece begins up to a sample off, because nothing can begin between two samples.
    assert np.abs(sound[rate // 100 : heard] - whole[rate // 100 : heard]).max() < 1.01 * steepest(
        whole
    )
    assert steepest(sound) <= 1.01 * steepest(whole)


def test_pieces_that_do_not_fit_have_a_click_unless_they_are_faded(tmp_path: Path) -> None:
    frames, phase = [30, 30, 30], 29  # about half a period
    pieces = cut_up(tmp_path, frames, NTSC, echo=17, phase=phase)
    hard = np.concatenate([read_sound(p.path)[0][p.lead :] for p in pieces if p.path])
    assert steepest(hard) > 5 * STEP, "else there would be nothing to mend"
    cuts = [Piece(p.frames, p.path, p.lead, continued=False) for p in pieces]
    for way in (pieces, cuts):
        sound = join_up(way, NTSC)
        assert len(sound) == sample_at(90, NTSC, RATE)
        assert steepest(sound) <= STEP, way[1].continued


def test_without_enough_of_an_echo_both_sides_are_faded(tmp_path: Path) -> None:
    pieces = cut_up(tmp_path, [30, 30], NTSC, echo=1, missing=1200)  # 42 ms for 50 ms
    sound = join_up(pieces, NTSC)
    seam = sample_at(30, NTSC, RATE)
    assert not sound[seam - 1200 : seam].any()
    assert steepest(sound) <= STEP


@given(count=st.integers(1, 3000), loud=st.floats(0, 1), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_a_crossfade_keeps_what_is_common_and_the_power_of_what_is_not(
    count: int, loud: float, seed: int
) -> None:
    one, other = np.random.default_rng(seed).normal(0, 0.2, (2, count, 2)).astype(np.float32)
    assert np.allclose(crossfade(one, one), one, atol=1e-6)
    mixed = crossfade(one, other * np.float32(loud))
    assert np.isfinite(mixed).all()
    if count > 1000:
        powers = [float(np.mean(x.astype(float) ** 2)) for x in (one, other * loud, mixed)]
        assert 0.9 * min(powers[:2]) - 1e-4 <= powers[2] <= 1.1 * max(powers[:2])
        middle = slice(count // 2 - 200, count // 2 + 200)
        expected = (powers[0] + powers[1]) / 2
        assert float(np.mean(mixed[middle].astype(float) ** 2)) == pytest.approx(expected, rel=0.4)


@given(
    frames=st.lists(st.integers(1, 200), min_size=1, max_size=8),
    fps=st.sampled_from([Fraction(24), NTSC, Fraction(47, 3), Fraction(8)]),
    rate=st.sampled_from([16_000, 24_000, 44_100]),
)
@settings(max_examples=40, deadline=None)
def test_silent_pieces_last_as_long_as_their_frames(
    frames: list[int], fps: Fraction, rate: int
) -> None:
    sound = join_up([Piece(count) for count in frames], fps, rate)
    assert sound.shape == (sample_at(sum(frames), fps, rate), 2)
    assert not sound.any()


def test_sound_that_does_not_fit_its_frames_is_an_error(tmp_path: Path) -> None:
    write_sound(tone(0, RATE), tmp_path / "a.flac", rate=RATE)
    for frames in (23, 28):
        with pytest.raises(MediaError, match=r"a\.flac has 1\.000 s of sound for"):
            join_up([Piece(frames, tmp_path / "a.flac")], Fraction(24))
    write_sound(tone(0, RATE), tmp_path / "b.flac", rate=16_000)
    both = [Piece(24, tmp_path / "a.flac"), Piece(36, tmp_path / "b.flac")]
    with pytest.raises(MediaError, match="Cannot join sounds of"):
        write_soundtrack(both, tmp_path / "t", fps=Fraction(24), native_fps=Fraction(24))


# -- rates


def soundtrack(pieces: list[Piece], path: Path, fps: Fraction, native: Fraction) -> Samples:
    loudness = write_soundtrack(pieces, path, fps=fps, native_fps=native)
    assert loudness
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(path.name)] == [path.name]
    return np.concatenate(parts)


def pitch(samples: Samples) -> float:
    """In hertz, at 48 kHz."""
    spectrum = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * 48_000 / len(samples)


@pytest.mark.parametrize(
    "fps", [NTSC, Fraction(24), Fraction(25), Fraction(12), Fraction(8), Fraction(60)]
)
def test_a_film_of_another_rate_keeps_the_pitch_and_has_the_exact_length(
    fps: Fraction, tmp_path: Path
) -> None:
    pieces = cut_up(tmp_path, [40, 33], NTSC, echo=17, missing=900)
    sound = soundtrack(pieces, tmp_path / "track", fps, NTSC)
    assert len(sound) == sample_at(73, fps, 48_000)
    middle = sound[len(sound) // 4 : len(sound) * 3 // 4]
    assert pitch(middle) == pytest.approx(HERTZ, abs=2)
    assert 0.45 < np.abs(middle).max() < 0.56
    assert steepest(sound) <= 1.1 * steepest(tone(0, 48_000, 48_000))


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30), Fraction(10)])
def test_what_is_heard_stays_with_what_is_seen(fps: Fraction, tmp_path: Path) -> None:
    folder = tmp_path / "a'b:c, d[e]=f;g\\h 100%i"
    folder.mkdir()
    knocks = np.zeros((RATE * 4, 2), np.float32)
    frames = (24, 48, 72)
    burst = np.random.default_rng(0).normal(0, 0.2, (480, 2))
    for frame in frames:
        at = sample_at(frame, Fraction(24), RATE)
        knocks[at : at + 480] = burst
    write_sound(knocks, folder / "a.flac", rate=RATE)
    sound = soundtrack([Piece(96, folder / "a.flac")], folder / "track", fps, Fraction(24))
    loud = np.flatnonzero(np.abs(sound[:, 0]) > 0.1)
    for frame in frames:
        at = sample_at(frame, fps, 48_000)
        nearest = loud[np.argmin(np.abs(loud - at))]
        assert abs(int(nearest) - at) < 48_000 * 0.03, "30 ms: less than a frame"


@given(speed=st.fractions(Fraction(1, 200), 200))
def test_any_speed_is_reached_in_steps_that_lose_nothing(speed: Fraction) -> None:
    steps = tempos(speed)
    assert all(0.49999 < step < 2.00001 for step in steps)
    assert np.prod(steps) == pytest.approx(float(speed))


# -- loudness


def test_gain_goes_to_the_target_and_no_further_than_peaks_and_quiet_allow() -> None:
    assert gain(Loudness(-20.0, -10.0)) == TARGET + 20
    assert gain(Loudness(-10.0, -0.5)) == TARGET + 10
    assert gain(Loudness(-20.0, -3.0)) == CEILING + 3
    assert gain(Loudness(-60.0, -50.0)) == MOST_GAIN
    assert gain(Loudness(None, -40.0)) == gain(Loudness(None, None)) == 0
    assert gain(Loudness(None, 0.0)) == CEILING


# -- films


def film(folder: Path, pieces: list[Piece], fps: Fraction, native: Fraction, name: str) -> Path:
    """A film with a chapter for each piece, and the sound of the pieces."""
    counts = [piece.frames for piece in pieces]
    segments = []
    for number, count in enumerate(counts):
        path = folder / f"{number}.mp4"
        contents = encode_segment(numbered(range(count), detail=number), path, fps=fps)
        segments.append(SegmentFile(path, contents))
    loudness = write_soundtrack(pieces, folder / "track.w64", fps=fps, native_fps=native)
    join_segments(
        segments,
        folder / name,
        fps=fps,
        frames_each=counts,
        title="A = B",
        chapters=[(f"part {n}", sum(counts[:n])) for n in range(len(counts))],
        scratch=folder / "scratch",
        sound=Track(folder / "track.w64", gain(loudness)) if loudness else None,
    )
    return folder / name


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0})]


@pytest.mark.parametrize("fps", [Fraction(24), NTSC, Fraction(47, 3)])
def test_a_film_has_its_sound_beside_the_same_pictures(fps: Fraction, tmp_path: Path) -> None:
    frames = [30, 21, 13]
    pieces = cut_up(tmp_path, frames, NTSC, echo=17, missing=1000)
    loud, again = (film(tmp_path, pieces, fps, NTSC, name) for name in ("a.mp4", "b.mp4"))
    silent = film(tmp_path, [Piece(count) for count in frames], fps, NTSC, "c.mp4")
    assert loud.read_bytes() == again.read_bytes()
    assert packets(loud, "video") == packets(silent, "video")
    size: dict[str, Any] = {"num_frames": 64, "width": 32, "height": 32, "fps": fps}
    length = sample_at(64, fps, 48_000)
    info = verify_film(loud, **size, sound_samples=length)
    assert info.sound
    assert (info.sound.samples, info.sound.start) == (length, 0)
    assert verify_film(silent, **size).sound is None
    for path, samples, wrong in (
        (loud, None, "sound that was not planned"),
        (silent, length, "no sound"),
        (loud, length - 1025, f"{length} samples of sound instead of {length - 1025}"),
    ):
        with pytest.raises(MediaError, match=wrong):
            verify_film(path, **size, sound_samples=samples)
    with av.open(str(loud)) as container:
        assert container.metadata["title"] == "A = B"
        starts = [c["start"] * Fraction(c["time_base"]) for c in container.chapters()]
        assert starts == [0, 30 / fps, 51 / fps]
        assert container.duration is not None
        assert abs(container.duration / 1e6 - 64 / fps) < 1e-3


def test_a_film_is_as_loud_as_films_shall_be_and_its_sine_has_no_click(tmp_path: Path) -> None:
    pieces = cut_up(tmp_path, [30, 21, 13], NTSC, echo=17, missing=1000)
    path = film(tmp_path, pieces, NTSC, NTSC, "a.mp4")
    loudness = measure(path, tmp_path)
    assert loudness.integrated == pytest.approx(TARGET, abs=0.3)
    assert loudness.true_peak
    assert loudness.true_peak <= CEILING + 1
    with av.open(str(path)) as container:
        sound = np.concatenate([f.to_ndarray().T for f in container.decode(audio=0)])
    middle = sound[2400 : 48_000 * 2]
    peak = float(np.abs(middle).max())
    assert steepest(middle) <= 1.1 * peak * 2 * np.pi * HERTZ / 48_000


def test_silence_stays_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write_sound(np.zeros((RATE * 2, 2), np.float32), path, rate=RATE)
    loudness = write_soundtrack(
        [Piece(48, path)], tmp_path / "track", fps=Fraction(24), native_fps=Fraction(24)
    )
    assert loudness == Loudness(None, None)
    quiet = np.random.default_rng(0).normal(0, 1e-4, (RATE * 2, 2)).astype(np.float32)
    write_sound(quiet, path, rate=RATE)
    made = film(tmp_path, [Piece(48, path)], Fraction(24), Fraction(24), "b.mp4")
    after = measure(made, tmp_path).integrated
    assert after is None or after < -50


def test_ffmpeg_that_fails_leaves_no_soundtrack(
    tmp_path: Path, use_ffmpeg: Callable[[str], None]
) -> None:
    pieces = cut_up(tmp_path, [10], NTSC)
    use_ffmpeg("echo 'it broke' >&2; exit 1")
    with pytest.raises(MediaError, match="it broke"):
        write_soundtrack(pieces, tmp_path / "track", fps=NTSC, native_fps=NTSC)
    assert not list(tmp_path.glob("*track*"))
