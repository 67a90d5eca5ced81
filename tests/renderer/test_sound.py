"""The sound that belongs to the pictures: what of it is kept, and the file it becomes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import BadPictureError, RenderError
from film.families import DEMO, MODELS
from film.timeline import sample_at
from film.types import RenderJob
from media.sound.flac import read_sound
from media.tail import read_tail
from renderer.pipeline import audio
from renderer.process import messages
from renderer.process.messages import Done
from renderer.protocol import Rendered, Setup, Sound
from tests.film.making import few
from tests.jobs import a_job, changed
from tests.renderer import tiny
from tests.renderer.preloaded import start_rendering

LTX2 = MODELS["ltx2"]
RATE = 24_000

JOB = a_job(
    segment_id=1,
    attempt=1,
    address="0" * 64,
    model="ltx2",
    revision="r1",
    prompt="rain",
    negative_prompt="",
    seed=7,
    width=64,
    height=64,
    film_size=(64, 64),
    num_frames=17,
    fps=Fraction(12),
    num_inference_steps=2,
    guidance_scale=3.0,
    overlap_frames=0,
    keep_frames=12,
    tail_frames=9,
)


def but(**changes: object) -> RenderJob:
    """The job with other values."""
    return changed(JOB, **changes)


def counted(length: int, channels: int = 2) -> Sound:
    """Sound whose samples show their own number."""
    line = np.arange(length, dtype=np.float32) / 2**22
    return Sound(np.stack([line] * channels, axis=1), RATE)


def numbers(samples: np.ndarray) -> list[int]:
    """The first and the last of such samples."""
    return [round(float(samples[place, 0]) * 2**22) for place in (0, -1)]


@given(
    steps=st.integers(1, 15),
    overlap=st.integers(0, 3),
    keep=st.integers(1, 121),
    early=st.integers(240, 1200),
    fps=st.sampled_from([Fraction(24), Fraction(24000, 1001), Fraction(16)]),
)
@few
def test_sound_is_kept_as_the_pictures_are(
    steps: int, overlap: int, keep: int, early: int, fps: Fraction
) -> None:
    spec = LTX2.replace(native_fps=fps)
    echo = min(8 * overlap + 1, 8 * steps) if overlap else 0
    keep = min(keep, 8 * steps + 1 - echo)
    job = but(num_frames=8 * steps + 1, overlap_frames=echo, keep_frames=keep)
    end = sample_at(job.segment.num_frames, fps, RATE) - early
    first, last = (sample_at(frame, fps, RATE) for frame in (echo, echo + keep))
    made = audio.kept(spec, job, counted(end))
    if min(last, end) - first < 16:
        assert made is None
        return
    assert made
    assert made.lead == min(first, 4800)
    assert len(made.samples) == min(last, end) - first + made.lead
    assert numbers(made.samples) == [first - made.lead, min(last, end) - 1]


def test_what_does_not_echo_has_no_lead_and_what_gives_no_frames_has_no_sound() -> None:
    silent_lead = LTX2.replace(echoes=False)
    whole = counted(17_000 - 500)
    made = audio.kept(silent_lead, but(overlap_frames=9, keep_frames=17), whole)
    assert made
    assert (made.lead, numbers(made.samples)[0]) == (0, 0)
    assert audio.kept(LTX2, but(keep_frames=0), whole) is None
    assert audio.kept(DEMO, JOB, None) is None


def test_sound_that_cannot_be_right_is_refused_and_silence_is_not() -> None:
    whole = counted(17_000 - 500)
    for value in (np.nan, np.inf):
        broken = whole.samples.copy()
        broken[7, 1] = value
        with pytest.raises(BadPictureError, match=r"sound that is not finite for seed 7\."):
            audio.kept(LTX2, JOB, Sound(broken, RATE))
    for length in (17_000 - 2401, 17_000 + 2401):
        with pytest.raises(RenderError, match=r"s of sound to 0\.71 s of pictures"):
            audio.kept(LTX2, JOB, counted(length))
    with pytest.raises(RenderError, match="sound of 3 channels"):
        audio.kept(LTX2, JOB, counted(17_000, channels=3))
    silence = audio.kept(LTX2, JOB, Sound(np.zeros((17_000, 2), np.float32), RATE))
    assert silence
    assert not silence.samples.any()


def test_a_model_that_should_make_sound_and_does_not_is_said_so() -> None:
    with pytest.raises(RenderError, match="returned no sound, although its row promises it"):
        audio.made(LTX2, None, object())
    assert audio.made(DEMO, None, object()) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_rendering_process_writes_the_sound_beside_the_pictures(tmp_path: Path) -> None:
    rendering = start_rendering(
        LTX2, Setup(folder=tiny.build("ltx2", tmp_path / "weights"), threads=1)
    )

    def files(job: RenderJob, name: str) -> Rendered:
        (tmp_path / name).mkdir()
        begun = rendering.begin(job, tmp_path / name)
        while True:
            message = begun.receive(120)
            assert isinstance(message, messages.Progress | messages.Pictured | Done), message
            if isinstance(message, Done):
                return message.rendered

    try:
        first = files(JOB, "first")
        before = first.tail_path
        then = but(overlap_frames=9, keep_frames=8, tail=before, seed=8)
        second = files(then, "second")
    finally:
        rendering.kill()
    assert read_tail(Path(first.tail_path)).shape == (9, 64, 64, 3)
    # 17 frames are 18 steps of 40 ms, of which the last 30 ms are left out: 16,560 samples.
    for rendered, lead, kept in ((first, 0, 12_000), (second, 4800, 16_560 - 9000)):
        assert rendered.sound_path
        assert rendered.sound_lead == lead
        samples, rate = read_sound(Path(rendered.sound_path))
        assert (len(samples), rate) == (lead + kept, RATE)
        assert samples.std() > 1e-4, "it is no silence"
