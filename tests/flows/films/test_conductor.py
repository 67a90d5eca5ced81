"""The conductor: which films' flows it runs, how many, and what it does if one cannot be run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from db import events
from db.films import film_lease
from db.films.films import Film
from db.tables import films as film_table
from db.workers import registry
from db.workers.registry import Registration
from film.errors import OrchestrationError
from film.types import FilmStatus
from flows.farm import Farm
from flows.films.conductor import THREAD_NAME, Conductor, Pace, flows_left
from tests.db.farm import DELIVERY, a_film
from tests.db.farm import Farm as Rows
from tests.fakes import FlakyDatabase, RecordingReporter

PACE = Pace(idle=0.001, away=0.0, flows=2, stitches=1, looking_share=1.0)


class Stage:
    """A conductor whose flows are functions."""

    def __init__(self, farm: Farm, **options: Any) -> None:
        self.rows = Rows(farm.database)
        self.database = FlakyDatabase(farm.database)
        farm.__dict__["database"] = self.database
        self.reporter = RecordingReporter()
        self.lines: list[str] = []
        self.films: list[Film] = []
        self.flow: Callable[[Film], None] = self.deliver
        self.server_errors: list[OrchestrationError] = []
        self.conductor = Conductor(
            farm,
            self.reporter,
            options.pop("campaigns", None),
            self.lines.append,
            run_film=self.run_film,
            find_server=self.find_server,
            pace=options.pop("pace", PACE),
            **options,
        )
        self.conductor._server_away.set()

    def run_film(self, film: Film) -> None:
        """The flow."""
        self.films.append(film)
        self.flow(film)

    def deliver(self, film: Film) -> None:
        """A flow that delivers."""
        assert (film.id, film.attempt) in self.conductor.host.keepers
        with self.database.write() as connection:
            assert film_lease.finish(connection, film, DELIVERY)

    def find_server(self, stopping: Callable[[], bool]) -> None:
        """Finds the server, unless it is to fail."""
        assert not stopping()
        if self.server_errors:
            raise self.server_errors.pop(0)

    def turn(self, count: int = 1) -> None:
        """Turns, each waited for until its flow has ended."""
        for _ in range(count):
            for thread in self.conductor.turn():
                thread.join(10)


@pytest.fixture
def stage(small_farm: Farm) -> Stage:
    """The conductor of this test."""
    return Stage(small_farm)


def test_an_open_film_has_its_flow_run(stage: Stage) -> None:
    (film,) = stage.rows.submit(a_film())
    stage.turn()
    assert stage.rows.status(film) is FilmStatus.DELIVERED
    assert stage.films[0].attempt == 1
    assert stage.reporter.connected == 1
    assert stage.lines == [f"{film}  started    Film x", f"{film}  delivered  Film x"]
    assert stage.conductor.host.keepers == {}
    assert not flows_left()


def test_without_films_it_looks_again(stage: Stage) -> None:
    stage.turn(3)
    assert stage.films == []


def test_films_of_other_campaigns_are_left_alone(small_farm: Farm) -> None:
    rows = Rows(small_farm.database)
    (first,), (second,) = rows.submit(a_film(tag="x")), rows.submit(a_film(tag="y"))
    stage = Stage(small_farm, campaigns=[second.rpartition("-")[0]])
    stage.turn(3)
    assert [film.id for film in stage.films] == [second]
    assert rows.status(first) is FilmStatus.QUEUED


def test_a_conductor_of_finished_films_leaves_those_to_be_rendered(small_farm: Farm) -> None:
    stage = Stage(small_farm, finished_only=True)
    (film,) = stage.rows.submit(a_film())
    stage.turn(2)
    assert stage.films == []
    stage.rows.render_all()
    stage.turn(2)
    assert [one.id for one in stage.films] == [film]


def test_a_flow_that_cannot_be_run_gives_its_film_back(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    (film,) = stage.rows.submit(a_film())

    def fail(_: Film) -> None:
        stage.flow = stage.deliver
        raise RuntimeError("Prefect is away")

    stage.flow = fail
    stage.turn(3)
    assert stage.rows.status(film) is FilmStatus.DELIVERED
    assert [one.attempt for one in stage.films] == [1, 2]
    assert stage.reporter.connected == 2, "the server was looked for again"
    (record,) = [r for r in caplog.records if "could not be run" in r.getMessage()]
    assert (record.__dict__["film"], record.__dict__["attempt"]) == (film, 1)


def test_a_film_that_cannot_be_given_back_is_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    (film,) = stage.rows.submit(a_film())

    def fail(_: Film) -> None:
        stage.database.away = True
        raise RuntimeError("Everything is away")

    stage.flow = fail
    stage.turn()
    stage.database.away = False
    assert "its lease must run out" in caplog.records[-1].getMessage()
    assert stage.rows.status(film) is FilmStatus.QUEUED


def test_the_embedded_server_must_come_up_at_the_beginning(stage: Stage) -> None:
    stage.server_errors = [OrchestrationError("It does not come up.")]
    with pytest.raises(OrchestrationError, match="does not come up"):
        stage.turn()


def test_later_the_embedded_server_is_waited_for(stage: Stage) -> None:
    stage.turn()
    stage.conductor._server_away.set()
    stage.server_errors = [OrchestrationError("It is away.")]
    (film,) = stage.rows.submit(a_film())
    stage.turn()
    assert stage.films == []
    stage.turn()
    assert [one.id for one in stage.films] == [film]


def test_that_prefect_is_away_is_shown_with_this_process_s_workers(stage: Stage) -> None:
    worker = Registration(
        name="w",
        owner=stage.conductor._farm.owner,
        host="h",
        device="cpu",
        models=("demo",),
        tags=(),
        quiet=None,
        lease_seconds=20.0,
    )
    stage.rows.write(registry.register, worker)
    stage.turn()
    stage.conductor._server_away.set()
    stage.server_errors = [OrchestrationError("It is away.\nDetails.")]
    stage.turn()
    (row,) = stage.rows.read(registry.listing)
    assert row.error == "Films wait for Prefect: It is away."
    stage.turn()
    (row,) = stage.rows.read(registry.listing)
    assert row.error is None


def test_a_server_of_the_user_is_waited_for_from_the_beginning(small_farm: Farm) -> None:
    small_farm.settings = small_farm.settings.model_copy(
        update={"prefect_api_url": "http://prefect/api"}
    )
    stage = Stage(small_farm)
    stage.server_errors = [OrchestrationError("It is away.")]
    stage.turn()
    assert stage.reporter.connected == 0
    stage.turn()
    assert stage.reporter.connected == 1


def test_a_database_that_is_away_is_waited_for(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    (film,) = stage.rows.submit(a_film())
    stage.database.away = True
    stage.turn(2)
    stage.database.away = False
    stage.turn()
    assert [one.id for one in stage.films] == [film]
    assert "No film could be claimed" in caplog.text


def test_a_flow_run_that_was_left_is_reported(stage: Stage) -> None:
    (film,) = stage.rows.submit(a_film())
    earlier = stage.rows.claim_film("another")
    stage.rows.write(film_lease.attach_flow_run, earlier, "run-1")
    stage.rows.run_out_film(earlier)
    stage.turn()
    assert [one.attempt for one in stage.films] == [2]
    assert stage.reporter.orphans == ["run-1"]
    assert stage.rows.status(film) is FilmStatus.DELIVERED


def test_slots_bound_the_flows_and_finished_films_have_further_ones(stage: Stage) -> None:
    stage.rows.submit(*(a_film(tag=tag) for tag in "abcde"))
    release = threading.Event()
    stage.flow = lambda film: (release.wait(10), stage.deliver(film))[1]
    threads = [thread for _ in range(6) for thread in stage.conductor.turn()]
    assert len(threads) == PACE.flows
    assert flows_left()
    assert all(thread.name.startswith(THREAD_NAME) for thread in threads)
    stage.rows.render_all()
    threads += [thread for _ in range(4) for thread in stage.conductor.turn()]
    assert len(threads) == PACE.flows + PACE.stitches
    release.set()
    for thread in threads:
        thread.join(10)
    stage.turn(4)
    assert len({film.id for film in stage.films}) == 5


def test_a_film_whose_lease_ran_out_has_no_second_flow_here(stage: Stage) -> None:
    stage.rows.submit(a_film())
    release = threading.Event()
    stage.flow = lambda film: (release.wait(10), None)[1]
    (thread,) = stage.conductor.turn()
    with stage.database.write() as connection:
        connection.execute(film_table.update().values(lease_until=1.0))
    for _ in range(3):
        assert stage.conductor.turn() == []
    release.set()
    thread.join(10)
    assert len(stage.films) == 1


def test_it_runs_until_it_is_stopped(stage: Stage) -> None:
    (film,) = stage.rows.submit(a_film())
    thread = threading.Thread(target=stage.conductor.run)
    thread.start()
    until = time.monotonic() + 10
    while stage.rows.status(film) is not FilmStatus.DELIVERED:
        assert time.monotonic() < until
        time.sleep(0.005)
    stage.conductor.stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def test_why_a_flow_cannot_be_run_is_an_event_once(stage: Stage) -> None:
    (film,) = stage.rows.submit(a_film())

    def fail(_: Film) -> None:
        raise RuntimeError("Server error 500 for /api/flows/\nand its page of HTML")

    stage.flow = fail
    for _ in range(4):
        stage.turn()
    waits = [event for event in stage.rows.read(events.of_film, film) if event.kind == "waiting"]
    assert [event.message for event in waits] == [
        "Prefect could not run the film's flow: RuntimeError: Server error 500 for /api/flows/"
    ]
