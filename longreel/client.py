"""A farm by its HTTP API."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from app.actions.server import SLOW_SECONDS, Server, quoted
from film.errors import LongreelError
from longreel.files import files_in, require_pictures
from longreel.values import Campaign, Error, Film, Films, Worker, read

P = ParamSpec("P")
T = TypeVar("T")
POLL_SECONDS = (0.3, 5.0)
"""Pause between two looks at films that are waited for: the first one, and the longest."""
ENDINGS = (".yaml", ".yml", ".jsonl", ".csv")
"""Endings of campaign files."""


class Client:
    """A farm. Methods raise `longreel.Error`."""

    def __init__(
        self, url: str, key: str | None = None, close: Callable[[], None] = lambda: None
    ) -> None:
        """Use `longreel.connect`."""
        with _errors():
            self._server = Server(url, key)
        self.url = self._server.url
        self._close = close

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._server.close()
        self._close()

    def submit(self, prompt: str, /, **options: Any) -> Film:
        """Submits a film. `options` are those of a film's file: `seconds`, `size`, `model`, `seed`,
        `scenes` (with an empty prompt), `tags`, `image` (a file of this machine) and others."""
        film = {**options, **({"prompt": prompt} if prompt else {})}
        found = self._post_film(film, name=prompt[:60] or "film")
        (made,) = self.films(campaign=found["id"])
        return made

    def submit_campaign(self, file: str | os.PathLike[str]) -> Campaign:
        """Submits a campaign file: .yaml, .jsonl or .csv, with the pictures and LoRAs that it
        names; their paths count from its folder."""
        return read(Campaign, self._post_file(file, "/api/v1/campaigns"))

    def plan(self, prompt: str, /, **options: Any) -> dict[str, Any]:
        """How a film would be rendered: scenes, segments, notices. Nothing is written."""
        film = {**options, **({"prompt": prompt} if prompt else {})}
        (found,) = self._post_film(film, dry_run=True)
        return dict(found)

    def estimate(self, prompt: str, /, **options: Any) -> dict[str, Any]:
        """What a film would cost, by what similar segments used on the farm: `gpu_seconds`,
        `finished_in_seconds` and `cost` as `low`, `middle` and `high`, `stored_bytes`; None for
        what is not known. Nothing is written."""
        film = {**options, **({"prompt": prompt} if prompt else {})}
        return dict(self._post_film(film, path="/api/v1/estimates"))

    def estimate_campaign(self, file: str | os.PathLike[str]) -> dict[str, Any]:
        """What the films of a campaign file would cost together; see `estimate`."""
        return dict(self._post_file(file, "/api/v1/estimates"))

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
        return self._film(self._get(f"/api/v1/films/{_id(film)}"))

    def campaign(self, campaign: Campaign | str) -> Campaign:
        """A campaign as it is now."""
        return read(Campaign, self._get(f"/api/v1/campaigns/{_id(campaign)}"))

    def workers(self) -> list[Worker]:
        """The workers."""
        return [read(Worker, item) for item in self._get("/api/v1/workers")["items"]]

    def events(self, film: Film | str) -> list[dict[str, Any]]:
        """What happened to a film, oldest first."""
        return list(self._get(f"/api/v1/films/{_id(film)}/events")["items"])

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
        from app.actions.transfers import Wanted, fetch_file

        name = _id(film)
        delivery = self._get(f"/api/v1/films/{name}/delivery")
        path = Path(to)
        path = path / f"{name}.mp4" if path.is_dir() else path
        where = f"/api/v1/films/{name}/content"
        with _errors():
            fetch_file(
                self._server, Wanted(where, delivery["sha256"], delivery["size_bytes"]), path
            )
        return path

    def sync(
        self,
        campaign: Campaign | Film | str,
        folder: str | os.PathLike[str],
        *,
        names: str | None = None,
        follow: bool = False,
    ) -> list[Path]:
        """Fetches the delivered films that a folder does not have, with `follow` until all are
        finished; returns the paths of those that are there.

        `names` is a naming pattern such as `{campaign}/{number:03}-{title}`. Half a file is
        continued, and nothing is removed or replaced. Raises `Error` for a film that is delivered
        and cannot be had, after the others.
        """
        from app.actions.folders import sync_folder
        from app.actions.remote import RemoteActions

        with _errors():
            name = campaign if isinstance(campaign, str) else campaign.id
            farm = RemoteActions(self._server)
            found = sync_folder(farm, name, Path(folder), names, follow=follow)
        failed = [each for each in found if each.problem and each.status == "delivered"]
        if failed:
            raise Error("; ".join(f"{each.id}: {each.problem}" for each in failed))
        return [Path(each.path) for each in found if each.problem is None]

    def render(self, prompt: str, to: str | os.PathLike[str], /, **options: Any) -> Film:
        """Submits a film, waits for it, and downloads it; a worker must run."""
        film = self.wait(self.submit(prompt, **options))
        self.download(film, to)
        return film

    def retake(self, film: Film | str, seeds: Mapping[int, int]) -> Film:
        """Submits a film again with other seeds for some scenes, by their numbers from 1."""
        body = {"seeds": {str(scene): seed for scene, seed in seeds.items()}}
        return self._film(self._post(f"/api/v1/films/{_id(film)}/retake", body))

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
            with _errors():
                return self._server.content(f"/api/v1/films/{data['id']}/content")

        return read(Film, data, fetch=fetch)

    def _post_file(self, file: str | os.PathLike[str], where: str) -> Any:
        """The answer to a campaign file that is sent with the files that it names."""
        from app.actions.packing import packed
        from longreel.files import read_campaign_file

        path = Path(file)
        if path.suffix.lower() not in ENDINGS:
            raise Error(f"{path} is not a campaign: its name must end in {', '.join(ENDINGS)}.")
        with _errors(), packed(read_campaign_file(path, self._preset)) as request:
            return self._ask("POST", where, timeout=SLOW_SECONDS, **request)

    def _preset(self, name: str) -> Mapping[str, Any]:
        """The options of a preset of the farm. Raises `InputError`."""
        from film.errors import InputError

        found = {row["name"]: row["options"] for row in self._get("/api/v1/presets")["items"]}
        if name not in found:
            raise InputError(f"There is no preset {name!r} on the farm.")
        return dict(found[name])

    def _post_film(
        self, film: Mapping[str, Any], path: str = "/api/v1/campaigns", **query: Any
    ) -> Any:
        from app.actions.packing import form_of

        text = json.dumps({"films": [film]}, default=str)
        with _errors():
            require_pictures(film)
            _require_words(str(film.get("prompt") or ""))
        with _errors(), form_of(text, files_in(film)) as request:
            return self._ask("POST", path, params=query, timeout=SLOW_SECONDS, **request)

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = self._get(path, **{**query, "after": after})
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def _get(self, path: str, **query: Any) -> Any:
        given = {name: value for name, value in query.items() if value}
        return self._ask("GET", path, params=given)

    def _post(self, path: str, body: Any = None) -> Any:
        return self._ask("POST", path, **({} if body is None else {"json": body}))

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        with _errors():
            answer = self._server.send(method, path, **request)
            problem = self._server.problem_of(answer)
            if problem is None:
                return answer.json()
            raise Error(
                str(self._server.error_of(problem)),
                problem.status,
                problem.field,
                problem.request_id,
                tuple(problem.refusals),
            )


@contextmanager
def _errors() -> Iterator[None]:
    """Turns the errors of commands into those of this package."""
    try:
        yield
    except LongreelError as error:
        raise Error(str(error)) from error
    except ValueError as error:
        raise Error(f"What answers is not the service of a Longreel farm: {error}") from error


def _require_words(prompt: str) -> None:
    """Raises `InputError` for a prompt that is the name of a file."""
    from film.errors import InputError

    one_word = prompt.isascii() and not any(letter.isspace() for letter in prompt)
    if one_word and prompt.lower().endswith((*ENDINGS, ".txt")):
        raise InputError(
            f"{prompt} is the name of a file, and a prompt is written in words; `submit_campaign` "
            f"takes campaign files."
        )


def _id(thing: Film | Campaign | str) -> str:
    """Its id as part of a path."""
    return quoted(thing if isinstance(thing, str) else thing.id)


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
    estimate = _twin(Client.estimate)
    estimate_campaign = _twin(Client.estimate_campaign)
    films = _twin(Client.films)
    film = _twin(Client.film)
    campaign = _twin(Client.campaign)
    workers = _twin(Client.workers)
    events = _twin(Client.events)
    wait = _twin(Client.wait)
    download = _twin(Client.download)
    sync = _twin(Client.sync)
    render = _twin(Client.render)
    retake = _twin(Client.retake)
    cancel = _twin(Client.cancel)
    requeue = _twin(Client.requeue)
    remove = _twin(Client.remove)
