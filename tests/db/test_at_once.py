"""Many workers at the same database: nothing is rendered twice, nothing is left, none fails."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from db.engine import Database
from db.films import film_lease
from db.segments import takes
from film.types import FilmStatus
from tests.db.farm import LEASE, Farm, Workers, a_film, take_of, violations

WORKER = """
import sys
from db.engine import open_database
from tests.db.farm import Farm, work
database = open_database(sys.argv[1])
sys.stdin.readline()
for lease in work(Farm(database), sys.argv[2]):
    print(lease.id, lease.attempt)
"""


def test_8_threads_render_each_segment_once(database: Database) -> None:
    farm = Farm(database)
    ids = farm.submit(*(a_film(scenes=5, segments_each=4, tag=f"f{n}") for n in range(10)))
    workers = Workers(database, 8)
    workers.run()
    assert workers.errors == []
    assert len(workers.claimed) == 200
    assert Counter(workers.claimed).most_common(1)[0][1] == 1
    assert {status for film_id in ids for status in farm.statuses(film_id)} == {"done"}
    assert list(violations(database)) == []


def test_threads_that_render_the_same_films_at_once_agree(database: Database) -> None:
    farm = Farm(database)
    same = [a_film(scenes=4, segments_each=3) for _ in range(6)]
    ids = farm.submit(*same)
    workers = Workers(database, 8)
    workers.run()
    assert workers.errors == []
    assert len(workers.claimed) == 12
    assert {status for film_id in ids for status in farm.statuses(film_id)} == {"done"}
    shared = {tuple(take.address for take in farm.read(takes.of_film, one)) for one in ids}
    assert len(shared) == 1
    assert list(violations(database)) == []


def test_4_processes_render_each_segment_once(database: Database) -> None:
    farm = Farm(database)
    ids = farm.submit(*(a_film(scenes=5, segments_each=4, tag=f"f{n}") for n in range(10)))
    url = database.engine.url.render_as_string(hide_password=False)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, url, f"w{number}"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    said: list[tuple[str, str]] = []
    listeners = [
        threading.Thread(target=lambda one=process: said.append(one.communicate("go\n")))
        for process in processes
    ]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    assert [errors for _, errors in said] == [""] * 4
    claimed = [line for lines, _ in said for line in lines.splitlines()]
    assert len(claimed) == len(set(claimed)) == 200
    assert {status for film_id in ids for status in farm.statuses(film_id)} == {"done"}


def test_two_takes_of_one_address_at_once_are_both_well(database: Database) -> None:
    farm = Farm(database)
    together = threading.Barrier(8)
    ended: list[object] = []

    def keep() -> None:
        together.wait()
        try:
            ended.append(farm.write(takes.keep, take_of("0" * 64)))
        except Exception as error:  # noqa: BLE001
            ended.append(error)

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [None] * 8


def test_a_film_is_claimed_by_one_of_8(database: Database) -> None:
    farm = Farm(database)
    farm.submit(*(a_film(tag=f"f{number}", segments_each=1) for number in range(12)))
    claimed: list[str] = []

    def run(owner: str) -> None:
        while film := farm.write(film_lease.claim, owner, LEASE):
            claimed.append(film.id)
            farm.write(film_lease.advance, film, FilmStatus.RENDERING, "on it")

    threads = [threading.Thread(target=run, args=(f"w{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 12
