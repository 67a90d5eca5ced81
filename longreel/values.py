"""What the farm answers: films, campaigns and workers as they were at that moment."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

V = TypeVar("V")
MOST_SHOWN_BYTES = 20_000_000
"""A longer film is not put into a notebook."""
FINAL = ("delivered", "failed", "cancelled")


class Error(Exception):
    """What could not be done.

    `status`: of the answer, 0 if there was none; `field`: what is wrong in the request;
    `request_id`: by which the server's log has it; `refused`: for each film of a campaign that is
    refused its number (`item`), `line` and `detail`.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        field: str | None = None,
        request_id: str | None = None,
        refused: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.refused = tuple(refused)
        self.status, self.field, self.request_id = status, field, request_id


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film. In a notebook it shows itself, with its picture once it is delivered."""

    id: str
    campaign: str
    title: str
    status: str
    """`queued`, `waiting`, `rendering`, `stitching`, `paused`, or a final one: `delivered`,
    `failed`, `cancelled`."""
    progress: float
    """0 to 1."""
    frames: int
    seconds: float
    segments: int
    done: int
    """Segments that are rendered."""
    reused: int
    """Those of `done` that had been rendered before."""
    seconds_left: float | None = None
    """About how long it takes; None if that is not known."""
    waiting: str | None = None
    """Why it does not move."""
    error: str | None = None
    created_at: float = 0.0
    """Seconds since 1970."""
    finished_at: float | None = None
    fetch: Callable[[], bytes] | None = dataclasses.field(default=None, repr=False, compare=False)
    """Gives the file of a delivered film, for notebooks."""

    @property
    def finished(self) -> bool:
        """True if it is delivered, failed or cancelled."""
        return self.status in FINAL

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        state = self.error or self.waiting or f"{self.done} of {self.segments} segments"
        text = f"<b>{html.escape(self.title)}</b> ({self.id}): {self.status}, {html.escape(state)}"
        if self.status != "delivered" or self.fetch is None:
            return f"<p>{text}</p>"
        data = self.fetch()
        if len(data) > MOST_SHOWN_BYTES:
            return f"<p>{text}; {len(data) / 1e6:.0f} MB, too long to be shown here</p>"
        import base64

        url = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
        return f'<p>{text}</p><video controls loop src="{url}"></video>'


class Films(list[Film]):
    """Films; `records()` gives rows for pandas: `pandas.DataFrame(films.records())`."""

    def records(self) -> list[dict[str, Any]]:
        """A mapping for each film."""
        names = [field.name for field in dataclasses.fields(Film) if field.name != "fetch"]
        return [{name: getattr(film, name) for name in names} for film in self]


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign."""

    id: str
    name: str
    priority: int
    active: bool
    """True if it has films that are not finished."""
    film_counts: Mapping[str, int]
    segment_counts: Mapping[str, int]
    seconds_left: float | None = None
    max_workers: int | None = None
    deadline: float | None = None
    paused_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker."""

    name: str
    state: str
    device: str
    models: tuple[str, ...]
    tags: tuple[str, ...]
    film_id: str | None = None
    """The film that it renders a segment of."""
    segments_done: int = 0
    segments_per_hour: float | None = None
    error: str | None = None


def read(kind: type[V], data: Mapping[str, Any], **more: Any) -> V:
    """A value from an answer; what it has beyond the fields is left out."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    known = {name: value for name, value in data.items() if name in names}
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return kind(**{**known, **lists, **more})
