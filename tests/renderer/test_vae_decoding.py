"""The step from latents to pictures, with a VAE of one line: checked, kept, repeated."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from film.errors import BadPictureError
from renderer.pipeline import vae_decoding
from renderer.pipeline.memory_savings import Savings
from renderer.pipeline.render_state import CURRENT, Run
from renderer.pipeline.vae_decoding import Decoding, NotKept, Undecoded
from renderer.protocol import RenderInputs
from tests.jobs import a_job

LATENTS = torch.arange(6.0).reshape(1, 2, 3)


class DoublingVae:
    """A VAE that doubles its latents, and runs out of memory in its first `failures` calls."""

    use_tiling = use_slicing = False

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.decoded: list[tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]] = []

    def decode(self, latents: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        """As diffusers' VAEs."""
        self.decoded.append((latents, more, named))
        if len(self.decoded) <= self.failures:
            raise self.error
        return latents * 2

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """As diffusers' VAEs."""
        return pictures / 2

    def enable_tiling(self) -> None:
        """As diffusers' VAEs."""
        self.use_tiling = True

    def enable_slicing(self) -> None:
        """As diffusers' VAEs."""
        self.use_slicing = True


def a_decoder(vae: DoublingVae, **more: Any) -> Any:
    """A pipeline whose `vae.decode` is replaced."""
    pipeline = SimpleNamespace(vae=vae, **more)
    pipeline.denoiser = threading.Lock()
    pipeline.savings = Savings(pipeline, "cpu")
    Decoding(pipeline, pipeline.savings, pipeline.denoiser)
    return pipeline


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection of all that the test process holds takes half a second."""
    monkeypatch.setattr("renderer.pipeline.memory_savings.gc.collect", lambda: 0)


@contextmanager
def a_run(latents: Path | None = None, *, replaying: bool = False) -> Iterator[Run]:
    run = Run(a_job(), RenderInputs(None, lambda _step, _steps: None), latents, replaying=replaying)
    token = CURRENT.set(run)
    yield run
    CURRENT.reset(token)


def test_the_denoiser_is_free_as_soon_as_the_latents_are_there() -> None:
    vae = DoublingVae()
    pipeline = a_decoder(vae)
    with a_run() as run:
        vae_decode: Callable[..., Any] = pipeline.vae.decode
        assert not run.denoised.is_set()
        assert torch.equal(vae_decode(LATENTS, 0.05, return_dict=False), LATENTS * 2)
        assert run.denoised.is_set()
        assert (run.decodings, run.decode_seconds > 0) == (1, True)
    assert vae.decoded[0][1:] == ((0.05,), {"return_dict": False})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_latents_that_are_not_finite_are_neither_decoded_nor_kept(
    tmp_path: Path, bad: float
) -> None:
    vae = DoublingVae()
    pipeline = a_decoder(vae)
    with a_run(tmp_path), pytest.raises(BadPictureError, match="latents that are not finite"):
        pipeline.vae.decode(torch.tensor([1.0, bad]))
    assert (vae.decoded, list(tmp_path.iterdir())) == ([], [])


def test_a_second_attempt_decodes_the_latents_of_the_first(tmp_path: Path) -> None:
    pipeline = a_decoder(DoublingVae(), audio_vae=DoublingVae())
    with a_run(tmp_path) as run:
        assert not vae_decoding.are_kept(run)
        pipeline.vae.decode(LATENTS, causal=True)
        pipeline.audio_vae.decode(LATENTS + 1)
        assert vae_decoding.are_kept(run)
    vae, audio = DoublingVae(), DoublingVae()
    again = a_decoder(vae, audio_vae=audio)
    with a_run(tmp_path, replaying=True):
        assert torch.equal(again.vae.decode(torch.zeros(1)), LATENTS * 2)
        assert torch.equal(again.audio_vae.decode(torch.zeros(1)), (LATENTS + 1) * 2)
    assert vae.decoded[0][2] == {"causal": True}


def test_kept_latents_that_are_damaged_missing_or_of_another_vae_are_not_used(
    tmp_path: Path,
) -> None:
    pipeline = a_decoder(DoublingVae(), audio_vae=DoublingVae())
    with a_run(tmp_path):
        pipeline.vae.decode(LATENTS)
    with a_run(tmp_path, replaying=True), pytest.raises(NotKept):
        pipeline.audio_vae.decode(LATENTS)
    with a_run(tmp_path, replaying=True) as run:
        pipeline.vae.decode(LATENTS)
        assert run.decodings == 1
        with pytest.raises(NotKept):
            pipeline.vae.decode(LATENTS)
    (tmp_path / "0.safetensors").write_bytes(b"nothing")
    with a_run(tmp_path, replaying=True), pytest.raises(NotKept):
        pipeline.vae.decode(LATENTS)


def test_latents_that_cannot_be_kept_are_decoded_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    pipeline = a_decoder(DoublingVae())
    with caplog.at_level(logging.WARNING), a_run(tmp_path / "file"):
        assert torch.equal(pipeline.vae.decode(LATENTS), LATENTS * 2)
    assert "The latents could not be kept" in caplog.text


@pytest.mark.parametrize(("failures", "tiled", "sliced"), [(1, True, False), (2, True, True)])
def test_memory_is_saved_until_the_latents_can_be_decoded(
    failures: int, tiled: bool, sliced: bool
) -> None:
    vae = DoublingVae(failures)
    pipeline = a_decoder(vae)
    with a_run() as run:
        assert torch.equal(pipeline.vae.decode(LATENTS), LATENTS * 2)
        assert run.decodings == 1
    assert (vae.use_tiling, vae.use_slicing) == (tiled, sliced)


def test_memory_that_is_never_enough_is_an_error() -> None:
    pipeline = a_decoder(DoublingVae(failures=9))
    with a_run(), pytest.raises(torch.OutOfMemoryError):
        pipeline.vae.decode(LATENTS)
    assert pipeline.savings.taken == ["VAE tiling", "VAE slicing"]


def test_a_failure_of_another_kind_is_not_repeated() -> None:
    vae = DoublingVae(failures=9, error=RuntimeError("CUDA error: device-side assert"))
    pipeline = a_decoder(vae)
    with a_run(), pytest.raises(RuntimeError, match="device-side"):
        pipeline.vae.decode(LATENTS)
    assert (len(vae.decoded), pipeline.savings.taken) == (1, [])


def test_memory_that_another_segment_took_is_waited_for_before_any_is_saved() -> None:
    """The next segment is being denoised: its memory is free when it is finished."""
    vae = DoublingVae(failures=1)
    pipeline = a_decoder(vae)
    results: list[torch.Tensor] = []
    pipeline.denoiser.acquire()

    def decode() -> None:
        with a_run():
            results.append(pipeline.vae.decode(LATENTS))

    decoding = threading.Thread(target=decode)
    decoding.start()
    decoding.join(0.1)
    assert decoding.is_alive()
    assert len(vae.decoded) == 1
    pipeline.denoiser.release()
    decoding.join(10)
    assert torch.equal(results[0], LATENTS * 2)
    assert pipeline.savings.taken == []


def test_encoding_is_passed_on() -> None:
    assert torch.equal(a_decoder(DoublingVae()).vae.encode(LATENTS), LATENTS / 2)


def test_a_companion_leaves_its_latents_undecoded() -> None:
    vae = DoublingVae()
    pipeline = a_decoder(vae)
    vae_decoding.leave_undecoded(pipeline)
    with pytest.raises(Undecoded):
        pipeline.vae.decode(LATENTS)
    assert vae.decoded == []
