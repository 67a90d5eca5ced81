"""What must be true when the last film is delivered; each check gives one sentence for each
thing that is not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.engine import open_database
from db.tables import events, films, segments, takes
from tests.chaos.harness import Prefect, Site, left_running

OPEN = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]
"""Prefect's types of states in which a run has not ended."""


@dataclass(frozen=True)
class Result:
    """What a run left in the database and in the store."""

    films: list[Any]
    """Rows in the order of the campaign."""
    segments: list[Any]
    takes: list[Any]
    rendered: list[tuple[str, int]]
    """Film and position of each event that reports a rendered segment."""
    failures: int
    """Events that report a failed attempt."""
    objects: dict[str, str]
    """SHA-256 of each object by its key."""
    uploads: list[str]
    """Keys of uploads in parts that were started and not finished."""


def read_result(site: Site) -> Result:
    """Everything that a site holds now; all its servers must be up."""
    database = open_database(site.database_url)
    with database.read() as connection:
        kinds = connection.execute(sa.select(events.c.film_id, events.c.segment, events.c.kind))
        happened = kinds.all()
        result = Result(
            films=list(connection.execute(sa.select(films).order_by(films.c.position))),
            segments=list(connection.execute(sa.select(segments).order_by(segments.c.id))),
            takes=list(connection.execute(sa.select(takes))),
            rendered=[(row.film_id, row.segment) for row in happened if row.kind == "rendered"],
            failures=sum(row.kind == "error" for row in happened),
            objects=_objects(site),
            uploads=_uploads(site),
        )
    database.close()
    return result


def read_films(site: Site) -> list[Any]:
    """The rows of its films, in the order of the campaign."""
    database = open_database(site.database_url)
    with database.read() as connection:
        rows = list(connection.execute(sa.select(films).order_by(films.c.position)))
    database.close()
    return rows


def _objects(site: Site) -> dict[str, str]:
    client = site.servers.store.server.client()
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=site.bucket):
        for entry in page.get("Contents", []):
            body = client.get_object(Bucket=site.bucket, Key=entry["Key"])["Body"]
            found[entry["Key"].removeprefix("farm/")] = hashlib.sha256(body.read()).hexdigest()
    return found


def _uploads(site: Site) -> list[str]:
    answer = site.servers.store.server.client().list_multipart_uploads(Bucket=site.bucket)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def every_film_is_delivered(after: Result) -> list[str]:
    """Nothing was lost."""
    return [
        f"Film {film.position} ({film.id}) is {film.status}, not delivered: {film.error}."
        for film in after.films
        if film.status != "delivered"
    ]


def films_are_equal(before: Result, after: Result) -> list[str]:
    """Bit for bit what the undisturbed run delivered."""
    found = []
    for old, new in zip(before.films, after.films, strict=True):
        if not (old.delivery and new.delivery):
            continue  # reported by another check
        was, stored = (
            result.objects.get(film.delivery["key"])
            for result, film in ((before, old), (after, new))
        )
        if stored is None:
            found.append(f"Film {new.position} is delivered, and its file is not in the store.")
        elif was != stored:
            found.append(f"Film {new.position} is not bit for bit that of the undisturbed run.")
        if stored not in (None, new.delivery["sha256"]):
            found.append(f"The recorded checksum of film {new.position} is not that of its file.")
    return found


def objects_are_equal(before: Result, after: Result) -> list[str]:
    """The same keys with the same bytes: no segment lies there twice, nothing is left over."""
    more, fewer = after.objects.keys() - before.objects, before.objects.keys() - after.objects
    both = after.objects.keys() & before.objects.keys()
    return [
        *(f"The store holds {key}, which the undisturbed run did not store." for key in more),
        *(f"The store misses {key}, which the undisturbed run stored." for key in fewer),
        *(
            f"{key} is not bit for bit that of the undisturbed run."
            for key in both
            if after.objects[key] != before.objects[key]
        ),
    ]


def takes_are_whole(after: Result) -> list[str]:
    """Each address has one take, under its own key, and the store holds it."""
    found = []
    wanted = {row.address for row in after.segments}
    for take in after.takes:
        if f"/{take.address}/" not in take.video_key:
            found.append(f"The take of {take.address[:12]} lies under another's key.")
        if after.objects.get(take.video_key) != take.take["sha256"]:
            found.append(f"The take of {take.address[:12]} is not what the store holds.")
        if (sound := take.take.get("sound_key")) and sound not in after.objects:
            found.append(f"The store misses the sound of the take of {take.address[:12]}.")
    missing = wanted - {take.address for take in after.takes}
    found += [f"The address {address[:12]} has no take." for address in missing]
    return found


def nothing_is_rendered_twice(after: Result) -> list[str]:
    """For each address one rendering was recorded, whichever worker else started it."""
    address = {(row.film_id, row.position): row.address for row in after.segments}
    count: dict[str, int] = {}
    for where in after.rendered:
        count[address[where]] = count.get(address[where], 0) + 1
    return [
        f"The rendering of the address {one[:12]} was recorded {times} times."
        for one, times in count.items()
        if times > 1
    ]


def no_row_is_running(after: Result) -> list[str]:
    """No process holds anything any more."""
    return [
        *(
            f"Segment {row.position} of film {row.film_id} is left {row.status}, "
            f"held by {row.owner}."
            for row in after.segments
            if row.status != "done" or row.owner or row.lease_until
        ),
        *(
            f"Film {row.position} is left in the hands of {row.owner}."
            for row in after.films
            if row.owner or row.lease_until
        ),
    ]


def no_upload_is_left(after: Result) -> list[str]:
    """Uploads in parts are ended or given up, or they would be paid for for ever."""
    return [f"An upload in parts of {key} was begun and never ended." for key in after.uploads]


def no_file_is_left(site: Site) -> list[str]:
    """Every worker's folders for temporary files are empty again."""
    found = []
    for home in sorted(site.folder.glob("worker-*/")):
        for folder in ("tmp", "scratch"):
            found += [
                f"{path.relative_to(site.folder)} is left over."
                for path in sorted((home / folder).glob("*"))
            ]
    return found


def no_process_is_left(folder: Path) -> list[str]:
    """Rendering processes and encoders end with their workers."""
    return [f"The process {process} is left over." for process in left_running(folder)]


def prefect_agrees(prefect: Prefect, of: list[Any]) -> list[str]:
    """One completed flow run for each film, all others finished, and no task run open."""
    ids = {film.id for film in of}
    all_runs = prefect.ask_all("flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
    runs = [run for run in all_runs if run["parameters"].get("film_id") in ids]
    found = []
    for film in of:
        mine = [run for run in runs if run["parameters"]["film_id"] == film.id]
        completed = [run["id"] for run in mine if run["state_type"] == "COMPLETED"]
        if completed != [film.flow_run_id]:
            states = ", ".join(f"{run['id'][:8]} {run['state_name']}" for run in mine)
            found.append(
                f"Film {film.position} should have one completed flow run, "
                f"{film.flow_run_id}, and has {len(completed)} ({states})."
            )
        found += [
            f"The flow run {run['id']} of film {film.position} is left {run['state_name']}."
            for run in mine
            if run["state_type"] in OPEN
        ]
    return found + _open_task_runs(prefect, {run["id"] for run in runs})


def _open_task_runs(prefect: Prefect, flow_runs: set[str]) -> list[str]:
    left = {"state": {"type": {"any_": OPEN}}}
    body = {"task_runs": left, "sort": "ID_DESC"}
    return [
        f"The task run {run['name']!r} of the flow run {run['flow_run_id']} is left "
        f"{run['state_name']}."
        for run in prefect.ask_all("task_runs/filter", body)
        if run["flow_run_id"] in flow_runs
    ]
