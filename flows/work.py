"""A leased segment on its way through a worker: its conditioning fetched, its take stored."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from db import films, takes
from db.claiming import Lease
from film.errors import (
    Cancelled,
    ObjectMissingError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)
from film.flags import filled
from film.models import find_model
from film.types import Conditioning, RenderJob, Take
from flows.given import fetch_given
from flows.heart import Hold
from flows.loras import fetched
from flows.render_process import Rendering
from flows.wiring import Farm
from renderer import kept
from renderer.base import Rendered
from storage import keys


class Work:
    """A segment in hand, with a folder of its own for its files."""

    def __init__(self, farm: Farm, hold: Hold) -> None:
        self.hold = hold
        self.begun = False
        """Whether its rendering was reported to have begun."""
        self.rendering: Rendering | None = None
        self.retake = 0
        """Which retake `rendering` is; 0 for the seed that was asked for."""
        self._farm = farm
        scratch = farm.scratch.open()
        self._folder = tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True)
        self.job: RenderJob | None = None

    @property
    def lease(self) -> Lease:
        """Its lease."""
        return self.hold.lease

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(self._folder.name)

    def close(self) -> None:
        """Removes its files."""
        self._folder.cleanup()

    def prepare(self) -> None:
        """Finds out what to render and fetches what it continues.

        Raises `ObjectMissingError` after forgetting a take whose tail is gone or damaged.
        """
        with self._farm.database.read() as connection:
            film = films.get(connection, self.lease.film_id)
        segment = film.plan.segments[self.lease.position]
        conditioning = None
        if segment.continues is not None:
            path = self.folder / "before.mkv"
            self._fetch_tail(film.plan.segments[segment.continues].address, path)
            used = segment.overlap_frames if segment.keyframe is None else 2
            conditioning = Conditioning(path=str(path), num_frames=used)
        settings, spec = film.request.settings, find_model(film.plan.model)
        size = film.plan.rendered_size
        image, last_image = (
            self._fetch_image(digest) for digest in (segment.image, segment.last_image)
        )
        self.job = RenderJob(
            segment_id=self.lease.id,
            attempt=self.lease.attempt,
            address=segment.address,
            model=film.plan.model,
            revision=film.plan.revision,
            prompt=segment.prompt,
            negative_prompt=settings.negative_prompt,
            seed=segment.seed,
            width=size[0],
            height=size[1],
            film_size=(film.plan.width, film.plan.height),
            num_frames=segment.num_frames,
            fps=film.plan.fps,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            overlap_frames=segment.overlap_frames,
            keep_frames=segment.keep_frames,
            tail_frames=spec.overlap_frames,
            conditioning=conditioning,
            image_path=image,
            last_image_path=last_image,
            flags=filled(settings.flags, self._farm.settings.machine_flags, spec, size),
            loras=fetched(self._farm, film.plan.loras),
            keyframes=segment.keyframes,
            keyframe=segment.keyframe,
        )

    def _fetch_image(self, digest: str) -> str | None:
        """The file of a picture that the user gave.

        Raises `InputError` where it is gone: only the user has it.
        """
        if not digest:
            return None
        path = self.folder / f"{digest}.png"
        what = f"The picture {digest[:8]} that this film is rendered from"
        fetch_given(self._farm.store, keys.image(digest), path, what)
        return str(path)

    def _fetch_tail(self, address: str, path: Path) -> None:
        try:
            self._farm.store.get_file(keys.take_tail(address), path)
        except (StoreUnreachableError, StoreFullError):
            raise
        except StoreError as error:
            with self._farm.database.write() as connection:
                takes.forget(connection, address)
            raise ObjectMissingError(str(error)) from error

    def store(self, rendered: Rendered, worker: str) -> Take:
        """Puts the take's objects under their addresses. Raises `Cancelled` where it lost them."""
        if self.hold.lost.is_set():
            raise Cancelled
        assert self.job is not None
        address = self.job.address
        tail_key, video_key = keys.take_tail(address), keys.take_video(address)
        self._farm.store.put_file(tail_key, rendered.tail_path)
        sound_key = keys.take_sound(address) if rendered.sound_path else None
        if sound_key and rendered.sound_path:
            self._farm.store.put_file(sound_key, rendered.sound_path)
        video = self._farm.store.put_file(video_key, rendered.video_path)
        return Take(
            address=address,
            video_key=video_key,
            tail_key=tail_key,
            num_frames=rendered.num_frames,
            size_bytes=video.size_bytes,
            sha256=video.sha256 or "",
            made_by={**rendered.made_by, **self._retake(), "worker": worker},
            sound_key=sound_key,
            sound_lead=rendered.sound_lead,
        )

    def forget_latents(self) -> None:
        """Removes what was kept in case that decoding or storing fails."""
        assert self.job is not None
        kept.forget_latents(self._farm.settings.home, self.job)

    def _retake(self) -> dict[str, Any]:
        """What tells a retake: its seed is another one than the address says."""
        if not self.retake or self.rendering is None:
            return {}
        return {"retake": self.retake, "seed": self.rendering.seed}
