"""A farm by its HTTP API."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx

from longreel.values import Campaign, Error, Film, Films, Worker, read

P = ParamSpec("P")
T = TypeVar("T")
POLL_SECONDS = (0.3, 5.0)
"""Pause between two looks at films that are waited for: the first one, and the longest."""
KINDS = {
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv",
}
"""Types of content of campaign files, by their endings."""


class Client:
    """A farm. Methods raise `longreel.Error`."""

    def __init__(
        self, url: str, key: str | None = None, close: Callable[[], None] = lambda: None
    ) -> None:
        """Use `longreel.connect`."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=60, follow_redirects=True
        )
        self._close = close

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._http.close()
        self._close()

    def submit(self, prompt: str, /, **options: Any) -> Film:
        """Submits a film. `options` are those of a film's file: `seconds`, `size`, `model`, `seed`,
        `scenes` (with an empty prompt), `tags` and others."""
        film = {**options, **({"prompt": prompt} if prompt else {})}
        body = json.dumps({"films": [film]}, default=str)
        campaign = self._submit(body, "application/json", prompt[:60] or "film")
        (found,) = self.films(campaign=campaign.id)
        return found

    def submit_campaign(self, file: str | os.PathLike[str]) -> Campaign:
        """Submits a campaign file: .yaml, .jsonl or .csv."""
        path = Path(file)
        kind = KINDS.get(path.suffix.lower())
        if kind is None:
            raise Error(f"{path} is not a campaign: its name must end in {', '.join(KINDS)}.")
        return self._submit(path.read_text(encoding="utf-8-sig"), kind, path.stem)

    def plan(self, prompt: str, /, **options: Any) -> dict[str, Any]:
        """How a film would be rendered: scenes, segments, notices. Nothing is written."""
        body = json.dumps({"films": [{**options, "prompt": prompt}]}, default=str)
        (found,) = self._post_campaign(body, "application/json", dry_run=True).json()
        return dict(found)

    def films(
        self,
        *,
        campaign: str | None = None,
        status: str | Iterable[str] = (),
        text: str = "",
        limit: int | None = None,
    ) -> Films:
        """Films, newest campaign first: of one campaign, of some statuses, with a text in their
        title or their campaign's name; at most `limit`."""
        wanted = status if isinstance(status, str) else ",".join(status)
        query = {"campaign": campaign, "status": wanted or None, "text": text or None}
        found = Films()
        for item in self._pages("/api/v1/films", query):
            if limit is not None and len(found) >= limit:
                break
            found.append(self._film(item))
        return found

    def film(self, film: Film | str) -> Film:
        """A film as it is now."""
        return self._film(self._get(f"/api/v1/films/{_id(film)}").json())

    def campaign(self, campaign: Campaign | str) -> Campaign:
        """A campaign as it is now."""
        return read(Campaign, self._get(f"/api/v1/campaigns/{_id(campaign)}").json())

    def workers(self) -> list[Worker]:
        """The workers."""
        return [read(Worker, item) for item in self._get("/api/v1/workers").json()["items"]]

    def events(self, film: Film | str) -> list[dict[str, Any]]:
        """What happened to a film, oldest first."""
        return list(self._get(f"/api/v1/films/{_id(film)}/events").json()["items"])

    def wait(
        self, film: Film | str, *, timeout: float | None = None, progress: bool | None = None
    ) -> Film:
        """Waits until a film is finished, with a progress bar (`progress`: None, on a terminal and
        in notebooks). Raises `Error` if it fails or is cancelled, and `TimeoutError`."""
        until = None if timeout is None else time.monotonic() + timeout
        pause, longest = POLL_SECONDS
        with _bar(progress) as show:
            while True:
                found = self.film(film)
                show(found)
                if found.finished:
                    break
                if until is not None and time.monotonic() > until:
                    raise TimeoutError(f"{found.id} is {found.status} after {timeout} s.")
                time.sleep(pause)
                pause = min(longest, pause * 1.1)
        if found.status != "delivered":
            raise Error(f"{found.id} was not delivered: {found.error or found.status}")
        return found

    def download(self, film: Film | str, to: str | os.PathLike[str]) -> Path:
        """Writes the file of a delivered film, compared with what was delivered, to the file or
        into the folder `to`; returns its path."""
        name = _id(film)
        digest = self._get(f"/api/v1/films/{name}/delivery").json()["sha256"]
        path = Path(to)
        path = path / f"{name}.mp4" if path.is_dir() else path
        partial = path.with_name(f".{path.name}.part")
        found = hashlib.sha256()
        try:
            with (
                self._http.stream("GET", f"/api/v1/films/{name}/content") as answer,
                partial.open("wb") as file,
            ):
                if answer.is_error:
                    answer.read()
                _require(answer)
                for piece in answer.iter_bytes():
                    found.update(piece)
                    file.write(piece)
            if found.hexdigest() != digest:
                raise Error(f"The file of {name} arrived damaged; download it again.")
            partial.replace(path)
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def render(self, prompt: str, to: str | os.PathLike[str], /, **options: Any) -> Film:
        """Submits a film, waits for it, and downloads it; a worker must run."""
        film = self.wait(self.submit(prompt, **options))
        self.download(film, to)
        return film

    def retake(self, film: Film | str, seeds: Mapping[int, int]) -> Film:
        """Submits a film again with other seeds for some scenes, by their numbers from 1."""
        body = {"seeds": {str(scene): seed for scene, seed in seeds.items()}}
        return self._film(self._post(f"/api/v1/films/{_id(film)}/retake", body).json())

    def cancel(self, film: Film | str) -> Film:
        """Cancels a film that is not finished; returns it."""
        self._post(f"/api/v1/films/{_id(film)}/cancel")
        return self.film(film)

    def requeue(self, film: Film | str) -> Film:
        """Queues a failed or cancelled film again; returns it."""
        self._post(f"/api/v1/films/{_id(film)}/requeue")
        return self.film(film)

    def remove(self, film: Film | str) -> None:
        """Removes a finished film and its file."""
        self._ask("DELETE", f"/api/v1/films/{_id(film)}")

    def _film(self, data: Mapping[str, Any]) -> Film:
        def fetch() -> bytes:
            return self._get(f"/api/v1/films/{data['id']}/content").content

        return read(Film, data, fetch=fetch)

    def _submit(self, body: str, kind: str, name: str) -> Campaign:
        return read(Campaign, self._post_campaign(body, kind, name=name).json())

    def _post_campaign(self, body: str, kind: str, **query: Any) -> httpx.Response:
        return self._ask(
            "POST",
            "/api/v1/campaigns",
            content=body.encode(),
            headers={"content-type": kind},
            params=query,
        )

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            more = {name: value for name, value in {**query, "after": after}.items() if value}
            page = self._get(path, **more).json()
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def _get(self, path: str, **query: Any) -> httpx.Response:
        return self._ask("GET", path, params=query)

    def _post(self, path: str, body: Any = None) -> httpx.Response:
        return self._ask("POST", path, **({} if body is None else {"json": body}))

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        _require(answer)
        return answer


def _require(answer: httpx.Response) -> None:
    """Raises `Error` with what the answer says, if it says that something is wrong."""
    if not answer.is_error:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    message = problem.get("detail") or f"The farm answered with {answer.status_code}."
    request_id = answer.headers.get("x-request-id")
    raise Error(message, answer.status_code, problem.get("field"), request_id)


def _unreachable(url: str, error: httpx.HTTPError) -> Error:
    return Error(f"The farm at {url} does not answer: {error or type(error).__name__}")


def _id(thing: Film | Campaign | str) -> str:
    return thing if isinstance(thing, str) else thing.id


class _bar:  # noqa: N801  (used as a function)
    """Shows a film's progress while in the block."""

    def __init__(self, wanted: bool | None) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        shown = self._console.is_terminal or self._console.is_jupyter
        self._wanted = shown if wanted is None else wanted

    def __enter__(self) -> Callable[[Film], None]:
        if not self._wanted:
            return lambda film: None
        from rich.progress import Progress

        self._progress = Progress(console=self._console, transient=True)
        self._progress.start()
        task = self._progress.add_task("", total=1.0)

        def show(film: Film) -> None:
            self._progress.update(
                task, completed=film.progress, description=f"{film.id} {film.status}"
            )

        return show

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            self._progress.stop()


def _twin(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """The method as one that is awaited."""

    @functools.wraps(method)
    async def call(self: AsyncClient, /, *arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(method, self._client, *arguments, **named)

    return call


class AsyncClient:
    """A farm whose methods are awaited; otherwise as `Client`."""

    def __init__(self, client: Client) -> None:
        """Use `longreel.connect_async`."""
        self._client = client

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    close = _twin(Client.close)
    submit = _twin(Client.submit)
    submit_campaign = _twin(Client.submit_campaign)
    plan = _twin(Client.plan)
    films = _twin(Client.films)
    film = _twin(Client.film)
    campaign = _twin(Client.campaign)
    workers = _twin(Client.workers)
    events = _twin(Client.events)
    wait = _twin(Client.wait)
    download = _twin(Client.download)
    render = _twin(Client.render)
    retake = _twin(Client.retake)
    cancel = _twin(Client.cancel)
    requeue = _twin(Client.requeue)
    remove = _twin(Client.remove)
