"""A farm in a database: campaigns, films and workers in as few words as tests need."""

from __future__ import annotations

import itertools
import threading
import time
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from db import events
from db.engine import Database
from db.films import campaigns, film_lease, films
from db.segments import claims, progress, segment_lease
from db.segments.claims import Lease
from db.segments.fair_share import Abilities
from db.segments.progress import SegmentRow
from db.tables import campaigns as campaign_table
from db.tables import films as film_table
from db.tables import segments as segment_table
from db.tables import takes as take_table
from film.plan import plan_film
from film.reading.film import film_from_prompt
from film.types import (
    Continuity,
    Delivery,
    FilmRequest,
    FilmStatus,
    Plan,
    SceneRequest,
    SegmentStatus,
    Take,
    from_json,
)

LEASE = 60.0
"""Seconds; longer than any test."""
MODELS = ("demo",)


class Farm:
    """What workers, flows and users do, each in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._campaigns = itertools.count(1)

    def submit(self, *requests: FilmRequest, **wishes: Any) -> list[str]:
        """A campaign of films (`wishes`: priority, deadline, max_workers); their ids."""
        name = f"c{next(self._campaigns)}"
        with self.database.write() as connection:
            campaigns.insert_campaign(connection, name, f"Campaign {name}", **wishes)
            planned = [(request, planned_as(request)) for request in requests]
            return campaigns.insert_films(connection, name, planned)

    def read(self, query: Any, *arguments: Any, **options: Any) -> Any:
        """The answer of a query of `db.films.films`, `db.segments.segment_lease` or `db.events`."""
        with self.database.read() as connection:
            return query(connection, *arguments, **options)

    def write(self, change: Any, *arguments: Any, **options: Any) -> Any:
        """The answer of a transition."""
        with self.database.write() as connection:
            return change(connection, *arguments, **options)

    def claim(self, owner: str = "worker", **options: Any) -> Lease:
        """The next segment, which there must be."""
        lease = self.try_claim(owner, **options)
        assert lease is not None
        return lease

    def try_claim(self, owner: str = "worker", seconds: float = LEASE, **options: Any) -> Any:
        """The next segment for a worker with the abilities of `options`, or None."""
        return self.write(claims.claim, owner, Abilities(**{"models": MODELS, **options}), seconds)

    def finish(self, lease: Lease) -> bool:
        """Its take is in the store."""
        row = self.row(lease)
        return bool(self.write(segment_lease.finish, lease, take_of(row.address)))

    def give_up(self, lease: Lease, *, permanent: bool = False, attempts: int = 3) -> bool:
        """An attempt that ended badly."""
        change = segment_lease.give_up
        return bool(
            self.write(change, lease, "no", "trace", permanent=permanent, attempts=attempts)
        )

    def render_all(self, **options: Any) -> int:
        """Renders what there is; how many segments that were."""
        count = 0
        while lease := self.try_claim(**options):
            assert self.finish(lease)
            count += 1
        return count

    def claim_film(self, owner: str = "flow", seconds: float = LEASE) -> films.Film:
        """The next film, which there must be."""
        film = self.write(film_lease.claim, owner, seconds)
        assert film is not None
        return film  # type: ignore[no-any-return]

    def deliver(self, owner: str = "flow") -> films.Film:
        """Delivers the next film, whose segments were rendered before."""
        film = self.claim_film(owner)
        assert self.write(film_lease.finish, film, DELIVERY)
        return film

    def rows(self, film_id: str) -> list[SegmentRow]:
        """The segments of a film."""
        return self.read(progress.of_film, film_id)  # type: ignore[no-any-return]

    def row(self, lease: Lease) -> SegmentRow:
        """The segment of a lease."""
        return self.rows(lease.film_id)[lease.position]

    def statuses(self, film_id: str) -> list[str]:
        """The statuses of a film's segments."""
        return [row.status.value for row in self.rows(film_id)]

    def status(self, film_id: str) -> FilmStatus:
        """The status of a film."""
        return self.read(films.status, film_id)  # type: ignore[no-any-return]

    def kinds(self, film_id: str) -> list[str]:
        """What happened to a film, in short."""
        return [event.kind for event in self.read(events.of_film, film_id)]

    def take(self, address: str) -> Take | None:
        """The take of an address, None if there is none."""
        with self.database.read() as connection:
            query = sa.select(take_table.c.take).where(take_table.c.address == address)
            data = connection.execute(query).scalar()
        return None if data is None else from_json(Take, data)

    def run_out(self, lease: Lease) -> None:
        """Time passes until this lease has run out."""
        self._age(segment_table, lease.id)

    def run_out_film(self, film: films.Film) -> None:
        """Time passes until this film's lease has run out."""
        self._age(film_table, film.id)

    def _age(self, table: sa.Table, key: object) -> None:
        with self.database.write() as connection:
            past = table.c.lease_until - 2 * LEASE
            connection.execute(table.update().where(table.c.id == key).values(lease_until=past))


def a_film(scenes: int = 1, segments_each: int = 3, tag: str = "x", needs: str = "") -> FilmRequest:
    """A film of scenes that cut, each a chain of segments of the demo model.

    `needs` are the tags that a worker must have, space between.
    """
    request = film_from_prompt(tag, {"title": f"Film {tag}", "tags": needs})
    frames = 17 + 12 * (segments_each - 1)
    written = tuple(
        # The demo model shows the same for many words: the seed makes every scene its own work.
        SceneRequest(
            prompt=f"{tag} {number}",
            seed=zlib.crc32(f"{tag} {number}".encode()) // 2,
            seconds=Fraction(frames, 8),
        )
        for number in range(scenes)
    )
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    return FilmRequest(**(fields | {"prompt": "", "scenes": written, "seconds": None}))


def between_keyframes() -> FilmRequest:
    """A film of one scene: an anchor, and three segments between its keyframes."""
    request = a_film()
    scene = request.scenes[0].replace(continuity=Continuity.KEYFRAMES)
    return request.replace(scenes=(scene,))


def planned_as(request: FilmRequest) -> Plan:
    """The plan of a film."""
    return plan_film(request, "r1", 36_000.0)


def take_of(address: str) -> Take:
    """A take as a worker would report it."""
    return Take(
        address=address,
        video_key=f"takes/{address}/video.mp4",
        tail_key=f"takes/{address}/tail.mkv",
        num_frames=17,
        size_bytes=1000,
        sha256="ab",
        made_by={"render_seconds": 1.5, "device": "cpu"},
    )


DELIVERY = Delivery(
    key="films/x.mp4",
    num_frames=41,
    width=96,
    height=64,
    fps=Fraction(8),
    size_bytes=5000,
    sha256="cd",
)


def violations(database: Database) -> Iterator[str]:
    """Whatever must never be so in a database, and is."""
    with database.read() as connection:
        film_rows = {row.id: row for row in connection.execute(sa.select(film_table))}
        rows = connection.execute(sa.select(segment_table)).all()
        query = sa.text("select address from takes")
        known = set(connection.execute(query).scalars())
    by_place = {(row.film_id, row.position): row for row in rows}
    for row in rows:
        film, name = film_rows[row.film_id], f"{row.film_id}/{row.position} {row.status}"
        final = FilmStatus(film.status).final
        leased = row.status == SegmentStatus.LEASED
        if leased != (row.owner is not None) or leased != (row.lease_until is not None):
            yield f"{name}: owner {row.owner}, lease {row.lease_until}"
        if row.status == SegmentStatus.DONE and row.address not in known and not final:
            yield f"{name}: done without a take"
        if final and row.status in ("leased", "ready", "waiting"):
            yield f"{name}: of a film that is {film.status}"
        if row.continues is not None:
            before = by_place[row.film_id, row.continues].status
            if row.status in ("ready", "leased") and before != "done":
                yield f"{name}: continues one that is {before}"
            if row.status == "waiting" and before == "done":
                yield f"{name}: waits for one that is done"
        elif row.status == "waiting":
            yield f"{name}: waits for nothing"
    yield from _campaign_violations(database, list(film_rows.values()))
    for film in film_rows.values():
        if (film.owner is None) != (film.lease_until is None):
            yield f"{film.id}: owner {film.owner}, lease {film.lease_until}"
        if FilmStatus(film.status).final != (film.finished_at is not None):
            yield f"{film.id} {film.status}: finished at {film.finished_at}"
        if (film.status == "delivered") != (film.delivery is not None):
            yield f"{film.id} {film.status}: delivery {film.delivery}"


def _campaign_violations(database: Database, films: list[Any]) -> Iterator[str]:
    with database.read() as connection:
        rows = connection.execute(sa.select(campaign_table)).all()
    for row in rows:
        mine = [film for film in films if film.campaign_id == row.id]
        if row.active != any(film.finished_at is None for film in mine):
            yield f"{row.id}: active {row.active} with films {[film.status for film in mine]}"
        for film in mine:
            if film.status == "paused" and row.paused_at is None:
                yield f"{film.id}: paused in a campaign that is not"
            if film.status in ("queued", "rendering") and row.paused_at is not None:
                yield f"{film.id}: {film.status} in a paused campaign"


class Workers:
    """Threads that claim and finish until nothing is left, and what they got."""

    def __init__(self, database: Database, count: int) -> None:
        self._database = database
        self._lock = threading.Lock()
        self.claimed: list[tuple[int, int]] = []
        self.errors: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._work, args=(f"w{number}",)) for number in range(count)
        ]

    def run(self) -> None:
        """Returns when all of them are through."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _work(self, owner: str) -> None:
        try:
            for lease in work(Farm(self._database), owner):
                with self._lock:
                    self.claimed.append((lease.id, lease.attempt))
        except Exception as error:  # noqa: BLE001  (for the test to raise)
            self.errors.append(error)


def work(farm: Farm, owner: str) -> Iterator[Lease]:
    """Claims, beats and finishes until no film has anything left to render."""
    pending = sa.select(sa.func.count()).where(
        segment_table.c.status.in_(("ready", "waiting", "leased"))
    )
    idle_until = time.monotonic() + 20  # if another worker ended while it held a lease
    while True:
        lease = farm.try_claim(owner)
        if lease is None:
            assert time.monotonic() < idle_until, "there is work left that nobody can claim"
            time.sleep(0.002)
            with farm.database.read() as connection:
                if connection.execute(pending).scalar_one() == 0:
                    return
            continue
        assert farm.write(segment_lease.beat, lease, LEASE, 0.5)
        assert farm.finish(lease)
        idle_until = time.monotonic() + 20
        yield lease
