"""The rendering process of a worker, kept warm from one segment to the next."""

from __future__ import annotations

from collections.abc import Callable

from film.families.lookup import find_model
from film.flags import at_loading
from film.settings import Settings
from film.types import RenderJob
from flows.worker.render_process import RenderProcess, StartProcess, Watch, default_threads
from renderer.protocol import Setup
from renderer.weights import weight_store

LOAD_SECONDS = 600.0
"""Longest time for loading a model, in seconds."""


class WarmProcess:
    """At most one rendering process, replaced if a job needs another model or other flags."""

    def __init__(self, settings: Settings, start: StartProcess) -> None:
        self._settings = settings
        self._start = start
        self._process: RenderProcess | None = None

    def process_for(self, job: RenderJob, before_end: Callable[[], None]) -> RenderProcess:
        """The process that has the job's model loaded, or is loading it, with the job's flags.

        `before_end` is called before another process is ended, which may still be encoding. Raises
        `WeightsMissingError`.
        """
        spec = find_model(job.settings.model)
        setup = Setup(
            folder=weight_store.folder_of(spec, job.revision, self._settings.home),
            threads=default_threads(self._settings.threads),
            flags=at_loading(job.settings.flags),
            revision=job.revision,  # because the content of a folder may have changed
            home=self._settings.home,
        )
        if self._process is not None and not self._process.serves(spec, setup):
            before_end()
            self.end()
        if self._process is None:
            self._process = self._start(spec, setup)
        return self._process

    @property
    def loaded(self) -> bool:
        """True if there is a process and its model is loaded."""
        return self._process is not None and self._process.loaded

    def watch(self, process: RenderProcess) -> Watch:
        """Notices if `process`, which may be an earlier one, stops doing anything."""
        return Watch(
            process,
            stall=self._settings.stall_seconds,
            step=self._settings.step_seconds,
            load=LOAD_SECONDS,
        )

    def end(self) -> None:
        """Ends the process at once, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process = None
