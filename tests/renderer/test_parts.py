"""The parts of the renderer, without a model: calls, memory, caches, files, messages."""

from __future__ import annotations

import errno
import inspect
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from film import errors
from film.errors import (
    BadPictureError,
    Cancelled,
    InputError,
    LongreelError,
    OutOfMemoryError,
    RenderError,
    UnfitWeightsError,
)
from film.families import DEMO, MODELS
from film.loras import HubPlace
from film.types import Lora, LoraFile, Offload
from flows.worker.render_process import received_error
from media.tail import read_tail, write_tail
from renderer import environment, out_of_memory
from renderer.out_of_memory import is_out_of_memory, started_pool
from renderer.pipeline import call, lora_adapters, memory_savings, prompt_cache, provenance
from renderer.pipeline.lora_adapters import Loras
from renderer.pipeline.memory_savings import TILING, Savings
from renderer.pipeline.prompt_cache import PromptMemory
from renderer.pipeline.render_state import CURRENT, Run
from renderer.process import log_records, main, messages, segment_files
from renderer.process.log_records import RecordSender
from renderer.process.messages import Failed, Logged
from renderer.protocol import Footage, Frames, RenderInputs, Setup, Sound
from renderer.weights import hub
from renderer.weights.pipeline_files import files_of
from tests.jobs import a_job, changed

JOB = a_job(
    model="demo", prompt="a red ball", negative_prompt="blurred", num_frames=17, keep_frames=12
)


def ignore(step: int, steps: int) -> None:
    """Takes no notice of steps."""


# Memory that runs out


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("can't start new thread"),
    ],
)
def test_memory_that_runs_out_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), OSError(errno.ENOSPC, "No space")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_the_threads_of_a_pool_run_before_there_is_work() -> None:
    began: list[int] = []
    with started_pool(3, "lane", began.append, 1) as pool:
        assert began == [1, 1, 1]
        assert pool.submit(lambda: 5).result() == 5
    assert out_of_memory.started_pool is started_pool


class Tiled:
    """A VAE that can work in tiles and slices."""

    use_tiling = use_slicing = False

    def enable_tiling(self) -> None:
        """As diffusers' VAEs."""
        self.use_tiling = True

    def enable_slicing(self) -> None:
        """As diffusers' VAEs."""
        self.use_slicing = True


@pytest.mark.parametrize(
    ("offload", "ways"),
    [
        (Offload.NONE, [TILING, "VAE slicing"]),
        (Offload.GROUP, [TILING, "VAE slicing"]),
    ],
)
def test_memory_is_saved_one_way_after_another(offload: Offload, ways: list[str]) -> None:
    pipeline = SimpleNamespace(vae=Tiled())
    savings = Savings(pipeline, "cpu", offload)
    assert not savings.tiled
    assert savings.take_next()
    assert savings.tiled
    assert (pipeline.vae.use_tiling, pipeline.vae.use_slicing) == (True, False)
    assert savings.take_next()
    assert not savings.take_next()
    assert savings.taken == ways


def test_on_a_gpu_components_are_offloaded_last() -> None:
    pipeline = SimpleNamespace(
        vae=Tiled(), enable_model_cpu_offload=None, enable_sequential_cpu_offload=None
    )
    names = [name for name, _ in memory_savings._ways(pipeline, "cuda", Offload.NONE)]
    assert names == [TILING, "VAE slicing", "offload", "offload in parts"]
    names = [name for name, _ in memory_savings._ways(pipeline, "cuda", Offload.GROUP)]
    assert names == [TILING, "VAE slicing"]


def test_a_vae_that_cannot_be_tiled_is_left_alone() -> None:
    assert not Savings(SimpleNamespace(vae=object()), "cpu").take_next()


# A pipeline's call


class TextOnly:
    """A pipeline that takes these arguments."""

    def __call__(
        self,
        prompt: str,
        negative_prompt: str,
        width: int,
        height: int,
        num_frames: int,
        num_inference_steps: int,
        guidance_scale: float,
        generator: Any,
        output_type: str,
        conditions: Any = None,
        frame_rate: int = 8,
        decode_timestep: float = 0.0,
        decode_noise_scale: float = 0.0,
        image_cond_noise_scale: float = 0.0,
        callback_on_step_end: Any = None,
    ) -> Any:
        """Makes two steps."""
        for step in range(2):
            if callback_on_step_end:
                callback_on_step_end(self, step, 0, {})


def test_the_arguments_of_a_call_are_the_jobs() -> None:
    spec = MODELS["demo"]
    plain = msgspec.structs.replace(spec.calling, arguments={}, fps="", names={})
    arguments = call.call_arguments(spec.replace(calling=plain), TextOnly(), JOB, None)
    assert arguments["prompt"] == "a red ball"
    assert arguments["num_frames"] == 17
    assert (arguments["width"], arguments["height"]) == JOB.rendered_size
    assert arguments["generator"].initial_seed() == JOB.segment.seed
    assert set(arguments) <= set(inspect.signature(TextOnly.__call__).parameters)


def test_an_argument_that_the_pipeline_does_not_take_is_refused() -> None:
    spec = MODELS["demo"]
    odd = msgspec.structs.replace(spec.calling, arguments={"sparkle": 1}, fps="", names={})
    with pytest.raises(RenderError, match="TextOnly does not take sparkle"):
        call.call_arguments(spec.replace(calling=odd), TextOnly(), JOB, None)


def test_steps_are_counted_by_the_pipelines_callback() -> None:
    pipeline, arguments, steps = TextOnly(), dict.fromkeys(["prompt"], ""), []
    job = changed(JOB, num_inference_steps=2)
    with call.counting(pipeline, arguments, job, lambda *step: steps.append(step)):
        after = arguments["callback_on_step_end"]
        assert after(pipeline, 0, 0, {"latents": 1}) == {"latents": 1}
        after(pipeline, 1, 0, {})
    assert steps == [(1, 2), (2, 2)]


class Chunked:
    """A pipeline without a callback, whose scheduler is asked for each step."""

    class Scheduler:
        """Counts nothing itself."""

        def step(self, value: int) -> int:
            """A step."""
            return value + 1

    def __init__(self) -> None:
        self.scheduler = self.Scheduler()

    def __call__(self) -> None:
        """Nothing."""


def test_steps_are_counted_by_the_scheduler_if_there_is_no_callback() -> None:
    pipeline, steps = Chunked(), []
    job = changed(JOB, num_inference_steps=2)
    with call.counting(pipeline, {}, job, lambda *step: steps.append(step)):
        assert [pipeline.scheduler.step(n) for n in range(3)] == [1, 2, 3]
    assert steps == [(1, 2), (2, 2), (3, 3)], "a family that renders in chunks makes more"
    assert "step" not in vars(pipeline.scheduler), "it is as before"


def test_the_first_video_of_an_output() -> None:
    video = torch.zeros(5, 3, 2, 2)
    assert call.frames_of(SimpleNamespace(frames=[video])) is video
    assert call.frames_of(SimpleNamespace(frames=[list(video)])).shape == (5, 3, 2, 2)


# Prompts that are encoded once


class Encoder:
    """A pipeline whose text encoder is a function."""

    dtype = torch.float32
    _execution_device = torch.device("cpu")

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.encode_prompt: Any = self._encode

    def _encode(self, prompt: str, *, picture: Any = None) -> tuple[torch.Tensor, None]:
        self.asked.append(prompt)
        return torch.full((2,), float(len(prompt))), None


def test_a_prompt_is_encoded_once_and_what_is_returned_is_a_copy() -> None:
    pipeline, left = Encoder(), []
    memory = PromptMemory(pipeline, leave=lambda: left.append(1))
    first = pipeline.encode_prompt("a ball")
    first[0].zero_()
    again = pipeline.encode_prompt("a ball")
    assert again[0].tolist() == [6.0, 6.0]
    pipeline.encode_prompt("a box!")
    assert (pipeline.asked, memory.encoded, left) == (["a ball", "a box!"], 2, [1, 1])


def test_what_is_not_known_by_its_content_is_encoded_each_time() -> None:
    pipeline = Encoder()
    PromptMemory(pipeline)
    for _ in range(2):
        pipeline.encode_prompt("a ball", picture=object())
    assert len(pipeline.asked) == 2


def test_another_process_finds_an_encoded_prompt(tmp_path: Path) -> None:
    first, second = Encoder(), Encoder()
    PromptMemory(first, tmp_path / "prompts")
    PromptMemory(second, tmp_path / "prompts")
    first.encode_prompt("a ball")
    assert second.encode_prompt("a ball")[0].tolist() == [6.0, 6.0]
    assert second.asked == []


def test_the_oldest_prompts_are_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prompt_cache, "KEPT", 2)
    monkeypatch.setattr(prompt_cache, "KEPT_ON_DISK", 2)
    pipeline = Encoder()
    PromptMemory(pipeline, tmp_path)
    for prompt in ("one", "two", "one", "three", "four"):
        pipeline.encode_prompt(prompt)
    assert len(list(tmp_path.iterdir())) == 2
    assert pipeline.asked == ["one", "two", "three", "four"]


def test_a_folder_that_cannot_be_written_costs_the_memory_of_it_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    pipeline = Encoder()
    PromptMemory(pipeline, tmp_path / "file")
    assert pipeline.encode_prompt("a ball")[0].tolist() == [6.0, 6.0]
    assert "could not be kept" in caplog.text


def test_the_time_of_encoding_is_the_runs() -> None:
    pipeline = Encoder()
    PromptMemory(pipeline)
    run = Run(JOB, RenderInputs(None, ignore), None)
    token = CURRENT.set(run)
    pipeline.encode_prompt("a ball")
    CURRENT.reset(token)
    assert run.prompt_seconds > 0


# LoRAs


class Adaptable(torch.nn.Module):
    """A pipeline of one transformer that LoRAs change."""

    _lora_loadable_modules = ("transformer",)

    def __init__(self, failure: Exception | None = None, modules: int = 2) -> None:
        super().__init__()
        self.transformer = torch.nn.ModuleList(torch.nn.Identity() for _ in range(modules))
        self.failure = failure
        self.weights: dict[str, float] = {}

    def load_lora_weights(self, folder: Path, *, adapter_name: str, **_: Any) -> None:
        """As diffusers' mixin."""
        if self.failure:
            raise self.failure
        for module in self.transformer:
            adapters = getattr(module, "lora_A", {})
            module.lora_A = {**adapters, adapter_name: 1}

    def set_adapters(self, names: list[str], weights: list[float]) -> None:
        """As diffusers' mixin."""
        self.weights = dict(zip(names, weights, strict=True))

    def unload_lora_weights(self) -> None:
        """As diffusers' mixin."""
        self.weights = {}
        for module in self.transformer:
            if hasattr(module, "lora_A"):
                del module.lora_A


MakeLora = Callable[..., LoraFile]


@pytest.fixture
def lora(tmp_path: Path) -> MakeLora:
    """Makes a LoRA of one layer on this machine."""

    def make(digest: str, weight: float = 1.0) -> LoraFile:
        path = tmp_path / f"{digest}.safetensors"
        save_file({f"transformer.0.lora_{part}.weight": torch.ones(1, 1) for part in "AB"}, path)
        named = Lora(name=path.name, digest=digest, weight=weight)
        return LoraFile(lora=named, path=str(path))

    return make


def test_loras_are_loaded_once_and_weighted_for_each_job(lora: MakeLora) -> None:
    pipeline = Adaptable()
    loras = Loras(DEMO, pipeline)
    loras.use([lora("aa", 0.5), lora("bb")])
    assert list(pipeline.weights.values()) == [0.5, 1.0]
    assert [row["modules"] for row in loras.made_by()["loras"]] == [2, 2]
    pipeline.failure = RuntimeError("not again")
    loras.use([lora("aa", 0.9), lora("bb")])
    assert list(pipeline.weights.values()) == [0.9, 1.0]
    loras.use([])
    assert pipeline.weights == {}
    assert loras.made_by() == {}


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (ValueError("a\n\nsize mismatch for proj_out"), UnfitWeightsError, "size mismatch"),
        (RuntimeError("CUDA out of memory"), OutOfMemoryError, "too little memory"),
    ],
)
def test_a_lora_that_cannot_be_loaded_leaves_nothing_behind(
    failure: Exception, kind: type[LongreelError], words: str, lora: MakeLora
) -> None:
    pipeline = Adaptable(failure)
    with pytest.raises(kind, match=words):
        Loras(DEMO, pipeline).use([lora("aa")])
    assert not any(hasattr(module, "lora_A") for module in pipeline.transformer)


def test_a_lora_that_changes_nothing_does_not_fit(lora: MakeLora) -> None:
    with pytest.raises(UnfitWeightsError, match="changes nothing"):
        Loras(DEMO, Adaptable(modules=0)).use([lora("aa")])
    assert lora_adapters.LONGEST_WHY == 200


# The pipe between a worker and its rendering process


def classes(kind: type[LongreelError]) -> set[type[LongreelError]]:
    """An error and all that are made from it."""
    found = {kind}.union(*map(classes, kind.__subclasses__()))
    return {one for one in found if one.__module__ == errors.__name__}


def made(kind: type[LongreelError]) -> LongreelError:
    """An error of this kind."""
    if kind is errors.RefusedFilmsError:
        return errors.RefusedFilmsError([errors.Refusal(1, "a.yaml:3: It failed.", 3)])
    if kind is errors.CampaignFileError:
        return errors.CampaignFileError("a.yaml", 3, "It failed.")
    return kind("Failed.")


@pytest.mark.parametrize("kind", sorted(classes(LongreelError), key=lambda k: k.__name__))
def test_every_error_arrives_as_what_it_was(kind: type[LongreelError]) -> None:
    error = made(kind)
    failed = messages.failure((1, 2), "for a test", error)
    assert failed.job == (1, 2)
    if issubclass(kind, errors.CampaignFileError):  # only its text crosses
        assert failed.message == "a.yaml:3: It failed."
        return
    arrived = received_error(failed)
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert arrived.__notes__ == [failed.detail]


def test_a_foreign_error_is_named_and_memory_is_recognised() -> None:
    assert messages.failure(None, "", KeyError("x")).message == "KeyError: 'x'"
    full = messages.failure(None, "for 17 frames of 32x32", MemoryError())
    assert full.kind == "OutOfMemoryError"
    assert "for 17 frames of 32x32" in full.message
    assert messages.wanted(JOB) == "for 17 frames of 32x32"


def test_a_record_arrives_with_its_job_and_traceback(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Logged] = []
    sender = RecordSender(sent.append)
    sender.job = (7, 1)
    logger = logging.getLogger("renderer.test")
    logger.addHandler(sender)
    try:
        raise ValueError("no such tensor")
    except ValueError as error:
        logger.warning("Odd %s", "weights", exc_info=error)
    finally:
        logger.removeHandler(sender)
    (message,) = sent
    assert (message.job, message.level, message.message) == ((7, 1), 30, "Odd weights")
    assert "no such tensor" in message.detail
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        log_records.handle(message, {"film": "k-1", "worker": "gpu-0"})
    (record,) = caplog.records
    assert record.name == "renderer.test"
    assert record.getMessage() == "Odd weights"
    assert (record.__dict__["film"], record.__dict__["worker"]) == ("k-1", "gpu-0")
    assert "no such tensor" in (record.exc_text or "")


def test_a_record_that_cannot_be_sent_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: Logged) -> None:
        raise BrokenPipeError

    record = logging.makeLogRecord({"msg": "lost", "levelno": 30})
    RecordSender(broken).handle(record)
    assert "BrokenPipeError" in capsys.readouterr().err


class Wire:
    """The rendering process's end of a pipe."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        """To the parent."""
        self.sent.append(message)


class Unloadable:
    """Takes the place of loading."""


def test_a_model_that_cannot_be_loaded_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise errors.WeightsMissingError("The weights are gone.")

    class Silent:
        """Orders that never come."""

        def __init__(self, _: Any) -> None:
            pass

    monkeypatch.setattr(main, "_load", fail)
    monkeypatch.setattr(main, "_Orders", Silent)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(main.logs, "install", lambda *_: None)
    wire = Wire()
    main.serve(wire, DEMO, Setup(folder=Path(), threads=1))  # type: ignore[arg-type]
    (failed,) = wire.sent
    assert isinstance(failed, Failed)
    assert (failed.job, failed.kind) == (None, "WeightsMissingError")


class Asked:
    """Orders of which the job is given up after some questions."""

    def __init__(self, after: int) -> None:
        self._left = after

    def require_wanted(self, _: Any) -> None:
        """Raises `Cancelled` in the end."""
        self._left -= 1
        if self._left < 0:
            raise Cancelled


class Stepping:
    """A renderer that makes three steps, and fails if it is to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    def start(self, job: Any, inputs: RenderInputs) -> Future[Footage]:
        """See `Renderer`."""
        for step in range(1, 4):
            inputs.on_step(step, 3)
        if self._failure:
            raise self._failure
        done: Future[Footage] = Future()
        done.set_result(Footage(np.zeros((1, 2, 2, 3), np.uint8)))
        return done


class Encoding:
    """An encoder that notes what it is given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def wait(self) -> None:
        """Nothing is encoded."""

    def begin(self, pictures: Any, scratch: Path) -> None:
        """Would encode."""
        self.given.append((pictures.job, scratch))


@pytest.mark.parametrize(
    ("asked", "failure", "kinds"),
    [
        (99, None, ["Progress", "Progress", "Progress", "Pictured"]),
        (2, None, ["Progress", "Stopped"]),
        (0, None, ["Stopped"]),
        (99, BadPictureError("Black."), ["Progress", "Progress", "Progress", "Failed"]),
    ],
)
def test_what_a_job_sends(
    asked: int, failure: Exception | None, kinds: list[str], tmp_path: Path
) -> None:
    wire, encoder = Wire(), Encoding()
    main._work(Stepping(failure), JOB, tmp_path, Asked(asked), wire, encoder)  # type: ignore[arg-type]
    assert [type(message).__name__ for message in wire.sent] == kinds
    assert bool(encoder.given) == (kinds[-1] == "Pictured")


def test_libraries_are_prepared_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    environment.prepare_libraries()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    environment.prepare_libraries()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE", "the user's own is kept"


# A segment's files


def clip(count: int, level: int = 0) -> Frames:
    """Frames that differ from one another."""
    levels = (level + np.arange(count)[:, None, None, None]) % 256
    return np.broadcast_to(levels, (count, 32, 32, 3)).astype(np.uint8).copy()


def footage(frames: Frames, sound: Sound | None = None) -> Future[Footage]:
    """Frames that are there."""
    done: Future[Footage] = Future()
    done.set_result(Footage(frames, sound, {"render_seconds": 1.0}))
    return done


def test_a_tail_is_the_end_of_what_was_rendered_and_of_what_came_before(tmp_path: Path) -> None:
    write_tail(clip(5), tmp_path / "before.mkv", fps=JOB.fps)
    job = changed(JOB, tail_frames=5, overlap_frames=5, tail=str(tmp_path / "before.mkv"))
    given = segment_files._given(job)
    assert given.first is not None
    assert given.first.shape[0] == 5
    pictures = segment_files.Pictures(job, given, footage(clip(2, 100)))
    tail = segment_files._tail(pictures, clip(2, 100))
    assert tail[:, 0, 0, 0].tolist() == [2, 3, 4, 100, 101]


def test_an_anchor_keeps_its_keyframes_and_the_pictures_that_it_was_given() -> None:
    job = changed(JOB, keyframes=(0, 4, 8))
    given = segment_files.Given(None, clip(1, 200), clip(1, 250))
    pictures = segment_files.Pictures(job, given, footage(clip(9)))
    assert segment_files._tail(pictures, clip(9))[:, 0, 0, 0].tolist() == [200, 4, 250]


def test_a_segment_between_keyframes_is_given_both(tmp_path: Path) -> None:
    write_tail(clip(3, 50), tmp_path / "anchor.mkv", fps=JOB.fps)
    job = changed(JOB, keyframe=1, overlap_frames=1, tail=str(tmp_path / "anchor.mkv"))
    given = segment_files._given(job)
    assert given.first is not None
    assert given.last is not None
    assert (given.first[0, 0, 0, 0], given.last[0, 0, 0, 0]) == (51, 52)


def test_pictures_of_the_user_are_fitted_to_what_is_rendered(tmp_path: Path) -> None:
    Image.new("RGB", (64, 16), (10, 20, 30)).save(tmp_path / "a.png")
    given = segment_files._given(changed(JOB, image=str(tmp_path / "a.png")))
    assert given.first is not None
    assert given.first.shape == (1, 32, 32, 3)
    assert given.last is None


def test_a_segment_becomes_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    sound = Sound(np.zeros((4000, 2), np.float32), 8000, lead=7)
    job = changed(JOB, tail_frames=5)
    pictures = segment_files.Pictures(
        job, segment_files.Given(None, None, None), footage(frames, sound)
    )
    rendered = segment_files.encode(pictures, tmp_path)
    assert np.array_equal(read_tail(Path(rendered.tail_path)), frames[-5:])
    assert (rendered.num_frames, rendered.sound_lead) == (12, 7)
    assert {"render_seconds", "encode_seconds", "peak_memory_bytes"} <= rendered.made_by.keys()


def test_a_picture_without_anything_on_it_is_bad(tmp_path: Path) -> None:
    pictures = segment_files.Pictures(
        JOB, segment_files.Given(None, None, None), footage(np.zeros((12, 32, 32, 3), np.uint8))
    )
    with pytest.raises(BadPictureError, match=f"Seed {JOB.segment.seed}"):
        segment_files.encode(pictures, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_made_a_segment_is_recorded_with_the_time_of_each_stage() -> None:
    run = Run(JOB, RenderInputs(None, ignore), None)
    run.seconds, run.prompt_seconds, run.decode_seconds = 10.0, 1.0, 2.0
    scheduler = type("Scheduler", (), {})()
    pipelines: Any = SimpleNamespace(
        main=SimpleNamespace(dtype=torch.float32, scheduler=scheduler),
        compiled=False,
        offload=Offload.NONE,
    )
    savings: Any = SimpleNamespace(taken=[TILING])
    made_by = provenance.made_by(DEMO, pipelines, savings, run, "cpu")
    assert made_by["seed"] == JOB.segment.seed
    assert made_by["memory_savings"] == [TILING]
    assert made_by["dtype"] == "float32"
    stages = [made_by[f"{stage}_seconds"] for stage in ("render", "prompt", "denoise", "decode")]
    assert stages == [10.0, 1.0, 7.0, 2.0]
    assert "latents" not in made_by
    run.replaying = True
    assert "latents" in provenance.made_by(DEMO, pipelines, savings, run, "cpu")


# Weights of the hub


INDEX = {
    "_class_name": "Pipeline",
    "vae": ["diffusers", "VAE"],
    "transformer": ["diffusers", "T"],
    "feature_extractor": [None, None],
}


def test_the_files_of_a_pipeline_are_its_components_and_no_others() -> None:
    names = [
        *("vae/config.json", "vae/model.safetensors", "vae/model.fp16.safetensors"),
        *("vae/model.bin", "transformer/a.safetensors", "other/model.safetensors"),
        *("checkpoint.safetensors", "feature_extractor/x.json", "README.md"),
    ]
    assert files_of(INDEX, names) == [
        *("model_index.json", "transformer/a.safetensors"),
        *("vae/config.json", "vae/model.safetensors"),
    ]


@pytest.mark.parametrize(
    ("file", "names", "found"),
    [
        ("a.safetensors", ["a.safetensors", "b.safetensors"], "a.safetensors"),
        ("", ["a.safetensors"], "a.safetensors"),
        ("c.safetensors", ["a.safetensors"], None),
        ("", ["a.safetensors", "b.safetensors"], None),
        ("", [], None),
    ],
)
def test_the_file_of_a_repository(file: str, names: list[str], found: str | None) -> None:
    place = HubPlace(repository="org/name", file=file, revision=None)
    if found:
        assert hub._chosen(place, names) == found
    else:
        with pytest.raises(InputError, match="org/name holds"):
            hub._chosen(place, names)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (ConnectionError("refused"), "try again when the hub answers"),
        (ValueError("not JSON"), "try again when the hub answers: not JSON"),
        (InputError("Our own sentence."), "Our own sentence"),
    ],
)
def test_errors_of_the_hub_become_sentences(error: Exception, words: str) -> None:
    with pytest.raises(InputError, match=words), hub.asking("The LoRA", "org/name", None):
        raise error
