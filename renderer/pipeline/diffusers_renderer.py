"""The generic renderer: any diffusers pipeline that a model's row describes."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from concurrent.futures import Future, wait

import diffusers
import numpy as np
import torch
import transformers

from film.errors import BadPictureError, FlagError, OutOfMemoryError, RenderError, WorkerLostError
from film.models import ModelSpec
from film.types import Offload, RenderFlags, RenderJob
from renderer import cache_folders as kept
from renderer.out_of_memory import is_out_of_memory, started_pool
from renderer.pipeline import audio as sounds
from renderer.pipeline import conditioning as conditions
from renderer.pipeline import provenance
from renderer.pipeline.apply_flags import Switches
from renderer.pipeline.call import call_arguments, counting, frames_of
from renderer.pipeline.loading import Pipelines
from renderer.pipeline.lora_adapters import Loras
from renderer.pipeline.memory_savings import Savings
from renderer.pipeline.render_state import CURRENT, Run
from renderer.pipeline.shared_prompts import SharedPrompts
from renderer.pipeline.vae_decoding import (
    REPLAY_STEPS,
    Decoding,
    NotKept,
    are_kept,
    leave_undecoded,
)
from renderer.process.messages import wanted
from renderer.protocol import Footage, Frames, OnStep, RenderInputs, Setup, Sound

Made = tuple[torch.Tensor, Sound | None]
"""A video `(frames, 3, height, width)`, 0 to 1, and its sound."""
LANES = 2
"""Runs that may be under way: one denoises, one decodes."""
PATIENCE_SECONDS = 60.0
"""How long a run whose memory ran out waits for the other one to end, in seconds."""


class DiffusersRenderer:
    """One model, loaded once and kept warm."""

    def __init__(self, spec: ModelSpec, setup: Setup, shared: SharedPrompts | None = None) -> None:
        """Loads the weights onto the GPU if there is one, else the CPU. `shared`: the encoded
        prompts of processes that render together.

        Raises `RenderError` if the folder holds another pipeline than the model's row names,
        `FlagError` if a flag cannot be applied.
        """
        self._spec, self._home, flags = spec, setup.home, setup.flags
        torch.set_num_threads(setup.threads)
        for library in (diffusers, transformers):
            library.utils.logging.disable_progress_bar()
            # Their records reach the handlers of this process, which decide what is printed.
            library.utils.logging.disable_default_handler()
            library.utils.logging.enable_propagation()
            logging.getLogger(library.__name__).setLevel(logging.NOTSET)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        prompts = kept.prompts_of(setup.home, setup.revision) if setup.home else None
        self._pipelines = Pipelines(spec, setup.folder, self._device, flags, prompts, shared)
        main = self._pipelines.main
        self._switches, self._loras = Switches(main), Loras(spec, main)
        # Processes that render together can save memory in decoding only, which each does alone.
        offload = Offload.GROUP if flags.context_parallel else self._pipelines.offload
        self._savings = Savings(main, self._device, offload)
        self._denoiser = threading.Lock()
        self._decoding = Decoding(main, self._savings, self._denoiser)
        self._alone = not flags.context_parallel
        """False if this process renders together with others, which must take the same steps."""
        overlap = self._pipelines.room_for_two if setup.overlap is None else setup.overlap
        self._overlap = overlap and spec.calling.decodes_last
        # How many threads torch uses is each thread's own.
        self._lanes = started_pool(LANES, "lane", torch.set_num_threads, setup.threads)
        self._last: Future[Footage] | None = None
        self._lane = 0
        self._flags = RenderFlags()

    def start(self, job: RenderJob, inputs: RenderInputs) -> Future[Footage]:
        """See `Renderer.start`. If memory runs out, it continues with less of it."""
        latents = kept.latents_of(self._home, job) if self._home and self._alone else None
        run = Run(job, inputs, latents)
        if not self._overlap or self._flags != job.settings.flags:
            self._settle()  # flags belong to the pipelines, and so to every run in progress
        self._flags = job.settings.flags
        if not self._overlap:
            done: Future[Footage] = Future()
            done.set_result(self._rendered(run))
            return done
        self._lane = run.lane = (self._lane + 1) % LANES
        with self._denoiser:
            future = self._lanes.submit(self._rendered, run)
            future.add_done_callback(lambda _: run.denoised.set())
            run.denoised.wait()
        if future.done():
            future.result()  # raises what ended it before it was denoised
        before, self._last = self._last, future
        if before is not None:
            wait([before])  # no more than two
        return future

    def render(
        self,
        job: RenderJob,
        conditioning: Frames | None,
        on_step: OnStep,
        last: Frames | None = None,
    ) -> Footage:
        """The footage of `start`, once it is there."""
        return self.start(job, RenderInputs(conditioning, on_step, last)).result()

    def leave_undecoded(self) -> None:
        """From now on each run ends with `Undecoded` once it is denoised."""
        leave_undecoded(self._pipelines.main)

    def _settle(self) -> None:
        """Until nothing is under way."""
        if self._last is not None:
            wait([self._last])

    def _rendered(self, run: Run) -> Footage:
        token = CURRENT.set(run)
        try:
            self._loras.use(run.job.files.loras)
            run.loras = self._loras.made_by()
            video, sound = self._saving(run)
            frames = self._kept(run.job, run.inputs.first, video)
            run.seconds = time.perf_counter() - run.began
            made_by = provenance.made_by(
                self._spec, self._pipelines, self._savings, run, self._device
            )
            return Footage(frames, sounds.kept(self._spec, run.job, sound), made_by)
        finally:
            CURRENT.reset(token)

    def _saving(self, run: Run) -> Made:
        """Renders the run, again with less memory each time that memory runs out."""
        while True:
            if self._device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            made = self._replayed_or_made(run)
            if made is not None:
                return made
            if self._overlap:  # never again: the other run takes memory as well
                self._overlap = False
                if self._last is not None:
                    wait([self._last], PATIENCE_SECONDS)
            elif not (self._alone and self._savings.take_next()):
                savings = ", ".join(self._savings.taken)
                raise OutOfMemoryError(
                    f"The {self._device} has too little memory {wanted(run.job)}, also with "
                    f"{savings or 'nothing to save it with'}; a worker with more memory is needed, "
                    f"or a smaller size."
                )

    def _replayed_or_made(self, run: Run) -> Made | None:
        """The pipeline's result, from kept latents if there are any; None if memory ran out."""
        run.replaying, run.decodings = are_kept(run), 0
        if run.replaying:
            steps = min(REPLAY_STEPS, run.job.settings.num_inference_steps)
            short = run.job.replace(settings=run.job.settings.replace(num_inference_steps=steps))
            try:
                return self._call(run, short)
            except NotKept:
                assert run.latents is not None
                shutil.rmtree(run.latents, ignore_errors=True)
        run.replaying, run.decodings = False, 0
        return self._call(run, run.job)

    def _call(self, run: Run, job: RenderJob) -> Made | None:
        """Calls the pipeline: the video `(frames, 3, height, width)` and its sound; None if memory
        ran out.

        When this returns, nothing of a failed attempt is alive, because its traceback is not.
        """
        conditioning, last = run.inputs.first, run.inputs.last
        mode = conditions.mode_of(self._spec, conditioning, last)
        pipeline = self._pipelines.of(mode, run.lane)
        if self._overlap:  # when it finishes, it would reset caches that the next run uses
            pipeline.maybe_free_model_hooks = lambda: None
        if self._spec.calling.guider:
            pipeline.guider = type(pipeline.guider)(guidance_scale=job.settings.guidance_scale)
        self._switches.set(job.settings.flags, pipeline, tiled=self._savings.tiled)
        arguments = call_arguments(self._spec, pipeline, job, conditioning, last)
        # Some pipelines draw noise without the generator that they are given.
        torch.manual_seed(job.segment.seed)
        try:
            with torch.inference_mode(), counting(pipeline, arguments, job, run.inputs.on_step):
                output = pipeline(**arguments)
            video, sound = frames_of(output), sounds.made(self._spec, pipeline, output)
        except BadPictureError as error:
            raise BadPictureError(
                f"The model {job.settings.model!r} gave {error} for seed {job.segment.seed}."
            ) from error
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise FlagError(f"The blocks cannot be compiled on this worker: {error}") from error
            if "CUDA error" in str(error):  # its context is lost, and with it this process
                raise WorkerLostError(f"The GPU failed: {error}") from error
            raise

        again = mode == "window" and self._spec.calling.returns_input
        return video[len(conditioning) if again and conditioning is not None else 0 :], sound

    def _kept(self, job: RenderJob, before: Frames | None, video: torch.Tensor) -> Frames:
        """The frames after the echoed overlap as bytes, in the colours of what they continue."""
        if not bool(torch.isfinite(video).all()):
            raise BadPictureError(
                f"The model {job.settings.model!r} returned non-finite pictures for seed "
                f"{job.segment.seed}."
            )
        if len(video) != job.segment.num_frames:
            raise RenderError(
                f"The model {job.settings.model!r} returned {len(video)} frames instead of "
                f"{job.segment.num_frames}."
            )
        height, width = video.shape[-2:]
        if (width, height) != (job.rendered_size[0], job.rendered_size[1]):
            raise RenderError(
                f"The model {job.settings.model!r} gave {width}x{height} pixels instead of "
                f"{job.rendered_size[0]}x{job.rendered_size[1]}."
            )
        pictures = (video.float().clamp(0, 1) * 255).round().to(torch.uint8)
        frames = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())
        echo = job.segment.overlap_frames if self._spec.echoes else 0
        kept = frames if job.segment.keyframes else frames[echo : echo + job.segment.keep_frames]
        by_keyframes = job.segment.keyframes or job.segment.keyframe is not None
        if before is None or not (job.segment.overlap_frames or by_keyframes):
            return kept
        if by_keyframes:  # the first is the keyframe's echo, whether or not it is dropped
            return conditions.match_colours(kept, frames[:1], before[-1:])
        if not echo:  # its first new frame is the nearest to the last one before it
            return conditions.match_colours(kept, frames[:1], before[-1:])
        return conditions.match_colours(kept, frames[:echo], before)
