"""Stand-ins for the costly parts of a farm, for tests of the logic between them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from db.engine import Database
from db.segments.claims import Lease
from film.errors import DatabaseError, LongreelError, WorkerLostError
from film.models import ModelSpec
from film.types import RenderJob, RunOutcome, SegmentEnd, VideoContents
from flows.worker.render_process import Rendering
from renderer.process import messages
from renderer.protocol import Rendered, Setup
from storage import ObjectInfo, ObjectStore


@dataclass
class RecordingReporter:
    """A `RunReporter` that remembers what it received."""

    connected: int = 0
    started_segments: list[int] = field(default_factory=list)
    """Ids of segments."""
    ended_segments: list[tuple[int, RunOutcome, str | None]] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    watched: dict[tuple[str, int], str] = field(default_factory=dict)

    def connect(self) -> None:
        """See `RunReporter`."""
        self.connected += 1

    def started(self, lease: Lease) -> None:
        """See `RunReporter`."""
        self.started_segments.append(lease.id)

    def ended(self, lease: Lease, outcome: RunOutcome, message: str | None = None) -> None:
        """See `RunReporter`."""
        self.ended_segments.append((lease.id, outcome, message))

    def orphaned(self, flow_run_id: str) -> None:
        """See `RunReporter`."""
        self.orphans.append(flow_run_id)

    def watch(self, film_id: str, attempt: int, flow_run_id: str) -> None:
        """See `RunReporter`."""
        self.watched[film_id, attempt] = flow_run_id

    def unwatch(self, film_id: str, attempt: int) -> None:
        """See `RunReporter`."""
        self.watched.pop((film_id, attempt), None)


class FlakyDatabase:
    """A database that fails while `away` is set; it also counts down, one transaction at a time,
    `failing` and `unanswered`: the latter are committed, and fail all the same."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = False
        self.failing = 0
        self.unanswered = 0

    @property
    def url(self) -> str:
        """See `Database`."""
        return self._database.url

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See `Database`."""
        self._fail()
        with self._database.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See `Database`."""
        self._fail()
        with self._database.write() as connection:
            yield connection
        if self.unanswered:
            self.unanswered -= 1
            raise DatabaseError("The connection broke before the database answered.")

    def close(self) -> None:
        """See `Database`."""
        self._database.close()

    def _fail(self) -> None:
        if self.failing:
            self.failing -= 1
            raise DatabaseError("The database is away.")
        if self.away:
            raise DatabaseError("The database is away.")


class FlakyStore:
    """A store whose calls raise `error` if it is set; everything else is the real store's."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.error: Exception | None = None
        self.answers = threading.Event()
        """While it is not set, the store accepts calls and answers none."""
        self.answers.set()

    @property
    def url(self) -> str:
        """See `ObjectStore`."""
        return self._store.url

    def put_file(self, key: str, path: str | Path) -> ObjectInfo:
        """See `ObjectStore`."""
        self._fail()
        return self._store.put_file(key, path)

    def get_file(self, key: str, path: str | Path) -> ObjectInfo:
        """See `ObjectStore`."""
        self._fail()
        return self._store.get_file(key, path)

    def head(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        self._fail()
        return self._store.head(key)

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        self._fail()
        self._store.delete(key)

    def _fail(self) -> None:
        self.answers.wait(60)
        if self.error:
            raise self.error


@dataclass
class FakeInventory:
    """What weights are on a machine."""

    models: tuple[str, ...] = ("demo",)
    weights: tuple[str, ...] = ("demo@r1",)


Action = Callable[[RenderJob, Path], list[messages.JobMessage | LongreelError]]
"""What a rendering process does with a job: the messages it sends."""


def contents_of(job: RenderJob) -> VideoContents:
    """What the encoded frames of a job would be."""
    end = SegmentEnd(steps=(1.0, 1.0), colour_shifts=(0.0, 0.0), sharpness=1.0)
    return VideoContents(
        num_frames=job.segment.keep_frames,
        width=job.film_size[0],
        height=job.film_size[1],
        fps=job.fps,
        header_sha256="0" * 64,
        packets_sha256="0" * 64,
        start=end,
        end=end,
    )


def renders(job: RenderJob, scratch: Path) -> list[messages.JobMessage | LongreelError]:
    """Renders well: the files hold the seed."""
    key = messages.key_of(job)
    for name in ("video.mp4", "tail.mkv"):
        (scratch / name).write_text(f"{name} {job.segment.seed}")
    rendered = Rendered(
        video_path=str(scratch / "video.mp4"),
        tail_path=str(scratch / "tail.mkv"),
        num_frames=job.segment.keep_frames,
        contents=contents_of(job),
        made_by={"render_seconds": 1.0},
    )
    return [
        messages.Progress(job=key, step=1, steps=2),
        messages.Progress(job=key, step=2, steps=2),
        messages.Pictured(job=key),
        messages.Done(job=key, rendered=rendered),
    ]


def fails(error: Exception) -> Action:
    """Fails while denoising."""

    def action(job: RenderJob, scratch: Path) -> list[messages.JobMessage | LongreelError]:
        return [messages.failure(messages.key_of(job), "for a test", error)]

    return action


def fails_encoding(error: Exception) -> Action:
    """Denoises, and fails while its pictures are checked and encoded."""

    def action(job: RenderJob, scratch: Path) -> list[messages.JobMessage | LongreelError]:
        key = messages.key_of(job)
        return [messages.Pictured(job=key), messages.failure(key, "for a test", error)]

    return action


def dies(job: RenderJob, scratch: Path) -> list[messages.JobMessage | LongreelError]:
    """Is killed in the middle of the job."""
    return [WorkerLostError("The rendering process died (exit code -9).")]


def hangs(job: RenderJob, scratch: Path) -> list[messages.JobMessage | LongreelError]:
    """Sends nothing until it is asked to give up."""
    return []


class FakeRenderProcess:
    """A `RenderProcess` that follows its script, one action for each job."""

    def __init__(self, spec: ModelSpec, setup: Setup, script: deque[Action]) -> None:
        self.model, self.setup = spec.name, setup
        self.ready_at: float | None = time.monotonic()
        self.killed = False
        self.jobs: list[RenderJob] = []
        self.given_up: list[messages.JobKey] = []
        self._script = script

    @property
    def loaded(self) -> bool:
        """See `RenderProcess`."""
        return self.ready_at is not None

    def begin(
        self, job: RenderJob, scratch: Path, ids: Mapping[str, Any] | None = None
    ) -> Rendering:
        """See `RenderProcess`."""
        if self.killed:
            raise WorkerLostError("The rendering process died.")
        self.jobs.append(job)
        rendering = Rendering(self, job, ids)
        action = self._script.popleft() if self._script else renders
        for message in action(job, scratch):
            rendering.messages.put(message)
        return rendering

    def give_up(self, rendering: Rendering) -> None:
        """See `RenderProcess`."""
        self.given_up.append(rendering.key)

    def serves(self, spec: ModelSpec, setup: Setup) -> bool:
        """See `RenderProcess`."""
        return not self.killed and (self.model, self.setup) == (spec.name, setup)

    def cpu_seconds(self) -> float:
        """See `RenderProcess`."""
        return time.monotonic()

    def kill(self) -> None:
        """See `RenderProcess`."""
        self.killed = True


class InlineExecutor(ThreadPoolExecutor):
    """Runs everything at once, in the thread that submits it: nothing happens in parallel."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """See `ThreadPoolExecutor`."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except BaseException as error:  # noqa: BLE001  (as an executor does)
            future.set_exception(error)
        return future
