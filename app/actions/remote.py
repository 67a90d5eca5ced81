"""A farm by the HTTP API of its service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.actions import packing, transfers
from app.actions.decoding import decode
from app.actions.server import SLOW_SECONDS, Server, quoted
from app.actions.values import (
    CampaignDetails,
    CampaignSummary,
    Deliverable,
    FilmDetails,
    History,
    Planned,
    Steered,
    Steering,
    Submitted,
    UsageReport,
    WorkerOrder,
)
from db.films.listing import FilmRow
from db.films.removal import Removed
from db.presets import PresetRow
from db.workers.registry import WorkerRow
from film.errors import InputError, NotFoundError
from film.types import Campaign, FilmStatus, to_json
from flows.cleaning import Cleaned
from flows.submission.estimate import Estimate

API = "/api/v1"


class RemoteActions:
    """See `Actions`."""

    part = "server"
    pause = 1.0

    def __init__(self, server: Server) -> None:
        self.server = server

    def check(self) -> None:
        self.server.get(f"{API}/campaigns", limit=1)

    def find_films(
        self,
        *,
        statuses: Collection[FilmStatus] = (),
        text: str = "",
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
    ) -> list[FilmRow]:
        wanted = {"status": ",".join(statuses), "text": text, "since": since, "until": until}
        found = self.server.pages(f"{API}/films", limit, **wanted)
        return [decode(FilmRow, item) for item in found]

    def films_of(self, name: str) -> list[FilmRow]:
        if _is_film(name):
            return [decode(FilmRow, self._get(name))]
        found = list(self.server.pages(f"{API}/films", campaign=name))
        if not found:
            self._get(name)
        return [decode(FilmRow, item) for item in found]

    def show(self, name: str, limit: int | None = None) -> FilmDetails | CampaignDetails:
        if _is_film(name):
            return decode(FilmDetails, self._get(name, "/details"))
        return decode(CampaignDetails, self._get(name, "/details", limit=limit))

    def campaigns(
        self, limit: int | None = None, since: float | None = None, until: float | None = None
    ) -> list[CampaignSummary]:
        found = self.server.pages(f"{API}/campaigns", limit, since=since, until=until)
        return [_summary(item) for item in found]

    def campaign_of(self, name: str) -> CampaignSummary:
        if _is_film(name):
            name = str(self._get(name)["campaign"])
        return _summary(self._get(name))

    def history(self, name: str, after: int = 0) -> History:
        data = self._get(name, "/events", after=after)
        return decode(History, {"events": data["items"], "open": data["open"]})

    def plan(self, campaign: Campaign) -> Planned:
        with packing.packed(campaign) as request:
            found = self._post("/campaigns", params={"dry_run": "true"}, **request)
        return Planned(plans=tuple(found))

    def estimate(self, campaign: Campaign) -> Estimate:
        with packing.packed(campaign) as request:
            return decode(Estimate, self._post("/estimates", **request))

    def submit(self, campaign: Campaign) -> Submitted:
        with packing.packed(campaign) as request:
            found = self._post("/campaigns", **request)
        return self._submitted(found)

    def retake(self, film_id: str, seeds: Mapping[int, int]) -> Submitted:
        if not _is_film(film_id):
            self._get(film_id)
            raise InputError(f"{film_id} is a campaign; give the id of one of its films.")
        wanted = {"seeds": {str(scene): seed for scene, seed in seeds.items()}}
        found = self._post(f"/films/{quoted(film_id)}/retake", json=wanted)
        path = f"{API}/campaigns/{quoted(found['campaign'])}"
        return self._submitted(self.server.get(path, notices="true"))

    def _submitted(self, campaign: Mapping[str, Any]) -> Submitted:
        return Submitted(
            campaign_id=campaign["id"],
            films=tuple(self.films_of(campaign["id"])),
            notices=campaign["notices"],
        )

    def steer(self, campaign_id: str, wanted: Steering) -> Steered:
        path = f"{API}/campaigns/{quoted(campaign_id)}"
        changes = to_json(wanted)
        if "budget_seconds" in changes:
            changes["budget"] = changes.pop("budget_seconds")
        found = self.server.ask("PATCH", path, json=changes)
        return Steered(campaign=_summary(found).campaign, changed=bool(found["changed"]))

    def presets(self) -> list[PresetRow]:
        return [decode(PresetRow, row) for row in self.server.get(f"{API}/presets")["items"]]

    def put_preset(self, name: str, options: Mapping[str, Any], note: str = "") -> PresetRow:
        wanted = {"options": dict(options), "note": note}
        path = f"{API}/presets/{quoted(name)}"
        return decode(PresetRow, self.server.ask("PUT", path, json=wanted))

    def remove_preset(self, name: str) -> None:
        self.server.ask("DELETE", f"{API}/presets/{quoted(name)}")

    def count_open(self, name: str) -> int:
        if _is_film(name):
            return int(not decode(FilmRow, self._get(name)).status.final)
        films = _summary(self._get(name)).films
        return films.total - films.finished

    def cancel(self, name: str) -> list[str]:
        return list(self.server.ask("POST", f"{_path(name)}/cancel")["cancelled"])

    def requeue(self, name: str, *, failed_only: bool = False) -> list[str]:
        query = {"failed": "true"} if failed_only else {}
        again = list(self.server.ask("POST", f"{_path(name)}/requeue", params=query)["queued"])
        if failed_only:
            return again
        # One request for each: finding out if a file is whole takes as long as reading it.
        for row in self.films_of(name):
            if row.status is FilmStatus.DELIVERED:
                again += self._post(f"/films/{quoted(row.id)}/requeue", params={"check": "true"})[
                    "queued"
                ]
        return again

    def remove(self, name: str) -> Removed:
        return decode(Removed, self.server.ask("DELETE", _path(name)))

    def usage(self) -> UsageReport:
        return decode(UsageReport, self.server.get(f"{API}/usage"))

    def clean(self, *, finished: bool = False, dry_run: bool = False) -> Cleaned:
        method = "GET" if dry_run else "POST"
        query = {"finished": "true"} if finished else {}
        found = self.server.ask(method, f"{API}/clean", params=query, timeout=SLOW_SECONDS)
        return decode(Cleaned, found)

    def workers(self) -> list[WorkerRow]:
        return [decode(WorkerRow, row) for row in self.server.get(f"{API}/workers")["items"]]

    def order(self, worker: str, command: WorkerOrder) -> WorkerRow:
        return decode(WorkerRow, self._post(f"/workers/{quoted(worker)}/{command}"))

    def models(self) -> list[dict[str, Any]]:
        return list(self.server.get(f"{API}/models")["items"])

    def deliverables(self, name: str, pattern: str | None = None) -> list[Deliverable]:
        found = self._get(name, "/deliveries", names=pattern)
        return [decode(Deliverable, item) for item in found["items"]]

    def fetch(self, film: Deliverable, path: Path) -> None:
        if film.sha256 is None or film.size_bytes is None:
            raise NotFoundError(f"{film.id} is {film.status}: it has no file.")
        where = f"{API}/films/{quoted(film.id)}/content"
        wanted = transfers.Wanted(where, film.sha256, film.size_bytes)
        transfers.fetch_file(self.server, wanted, path)

    def link(self, film: Deliverable, seconds: float) -> str:
        path = f"{API}/films/{quoted(film.id)}/link"
        found = self.server.get(path, seconds=seconds, file_name=film.file_name.rpartition("/")[2])
        return str(found["url"])

    def address_of(self, film: Deliverable) -> str | None:
        try:
            url = self.link(film, 24 * 3600.0)
        except InputError:
            return None
        return url if urlsplit(url).scheme in ("http", "https") else None

    def dashboard(self) -> str:
        return str(self.server.get(f"{API}/dashboard")["url"])

    def close(self) -> None:
        self.server.close()

    def _get(self, name: str, part: str = "", **query: Any) -> Any:
        """What there is of a film or campaign. Raises `NotFoundError`."""
        try:
            return self.server.get(_path(name) + part, **query)
        except NotFoundError as error:
            if "There is no" not in str(error):
                raise
            raise _no_such(name) from None

    def _post(self, path: str, **request: Any) -> Any:
        request.setdefault("timeout", SLOW_SECONDS)
        return self.server.ask("POST", API + path, **request)


def _summary(data: Mapping[str, Any]) -> CampaignSummary:
    return decode(CampaignSummary, {"campaign": data, "films": data["films"]})


def _is_film(name: str) -> bool:
    """True for the id of a film, which is its campaign's with a number."""
    return name.rpartition("-")[2].isdecimal() and "-" in name


def _path(name: str) -> str:
    """The path of a film or campaign. Raises `NotFoundError` for what cannot be an id."""
    if not name.strip(". ") or "/" in name or not name.isprintable():
        raise _no_such(name)
    return f"{API}/{'films' if _is_film(name) else 'campaigns'}/{quoted(name)}"


def _no_such(name: str) -> NotFoundError:
    return NotFoundError(
        f"There is no film or campaign {name!r}; `longreel ls` lists what there is."
    )
