"""A worker's rendering process, kept warm from one segment to the next."""

from __future__ import annotations

from collections.abc import Callable

from film.flags import at_loading
from film.models import find_model
from film.settings import Settings
from film.types import RenderJob
from flows.render_process import RenderProcess, Watch, default_threads
from renderer import weights
from renderer.base import Setup

LOAD_SECONDS = 600.0
"""Longest that loading a model may take."""


class Warm:
    """At most one rendering process, replaced where a job needs another model or other flags."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: RenderProcess | None = None

    def process_for(self, job: RenderJob, before_end: Callable[[], None]) -> RenderProcess:
        """The process with the job's model loaded or loading, as its flags say.

        `before_end` is called before another one is ended, which may still be encoding. Raises
        `WeightsMissingError`.
        """
        spec = find_model(job.model)
        setup = Setup(
            folder=weights.folder_of(spec, job.revision, self._settings.home),
            threads=default_threads(self._settings.threads),
            flags=at_loading(job.flags),
            revision=job.revision,  # of a folder whose content may have changed
            home=self._settings.home,
        )
        if self._process is not None and not self._process.serves(spec, setup):
            before_end()
            self.end()
        if self._process is None:
            self._process = RenderProcess(spec, setup)
        return self._process

    @property
    def loaded(self) -> bool:
        """Whether there is a process, with its model loaded."""
        return self._process is not None and self._process.loaded

    def watch(self, process: RenderProcess) -> Watch:
        """Notices where `process`, which may be an earlier one, does nothing any more."""
        return Watch(
            process,
            stall=self._settings.stall_seconds,
            step=self._settings.step_seconds,
            load=LOAD_SECONDS,
        )

    def end(self) -> None:
        """Ends the process at once, where there is one."""
        if self._process is not None:
            self._process.kill()
            self._process = None
