"""A film has one flow run in Prefect, whatever comes late."""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from db.films import film_lease
from db.tables import films as film_table
from film.reading.film import film_from_prompt
from film.types import Campaign
from flows.farm import Farm
from flows.prefect_runs.outcomes import GONE
from flows.submission.submit import submit
from tests.conftest import Installation
from tests.flows.test_campaign import wait_for
from tests.flows.test_workers import Start, start
from tests.services.proxy import proxied

__all__ = ["start"]
pytestmark = pytest.mark.slow


def submitted(farm: Farm, *, seconds: float = 6.0) -> str:
    request = film_from_prompt("A red ball.", {"title": str(uuid4()), "seconds": seconds})
    return submit(farm, Campaign(name="c", priority=0, films=(request,)))[0]


def flow_runs(client: Any, title: str) -> list[Any]:
    from prefect.client.schemas import filters

    named = filters.FlowRunFilter(name=filters.FlowRunFilterName(any_=[title]))
    return list(client.read_flow_runs(flow_run_filter=named))


def film_row(farm: Farm, film: str) -> Any:
    with farm.database.read() as connection:
        return connection.execute(sa.select(film_table).where(film_table.c.id == film)).one()


def let_lease_run_out(farm: Farm, film: str) -> None:
    with farm.database.write() as connection:
        connection.execute(
            sa.update(film_table).where(film_table.c.id == film).values(lease_until=1.0)
        )


def test_an_answer_that_is_lost_makes_no_second_flow_run(prefect_api: str) -> None:
    os.environ["PREFECT_API_URL"] = prefect_api
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.films.render_film import create_run

    parameters = {"film_id": str(uuid4()), "title": "T", "attempt": 1, "submitted_at": 1.25}
    with proxied(int(prefect_api.split(":")[2].split("/")[0])) as proxy:
        proxy.lose_answer_to = b"POST /api/flow_runs/ "
        through = prefect_api.replace(prefect_api.split(":")[2].split("/")[0], str(proxy.port))
        with temporary_settings({PREFECT_API_URL: through}):
            run = create_run(parameters)
        assert proxy.cuts == 1
    with get_client(sync_client=True) as client:
        mine = [one.id for one in client.read_flow_runs(limit=200) if one.parameters == parameters]
        assert mine == [run.id]
        assert create_run({**parameters, "attempt": 2}).id != run.id


def test_a_lease_that_ran_out_is_taken_up_by_the_flow_that_had_it(
    farm: Farm, prefect_api: str, served: Installation, start: Start
) -> None:
    served.environment["LONGREEL_LEASE_SECONDS"] = "6"
    film = submitted(farm, seconds=20)
    start("worker")
    wait_for(lambda: film_row(farm, film).flow_run_id is not None, "the flow to begin")
    let_lease_run_out(farm, film)
    wait_for(lambda: film_row(farm, film).lease_until > time.time(), "the lease again")
    row = film_row(farm, film)
    assert row.attempt == 1
    os.environ["PREFECT_API_URL"] = prefect_api
    from prefect import get_client

    with get_client(sync_client=True) as client:
        assert [str(run.id) for run in flow_runs(client, row.title)] == [row.flow_run_id]


def test_a_flow_run_that_lost_its_film_to_another_process_says_so(
    farm: Farm, prefect_api: str, served: Installation, start: Start
) -> None:
    film = submitted(farm, seconds=40)
    start("worker", "--name", "slow")
    wait_for(lambda: film_row(farm, film).flow_run_id is not None, "the flow to begin")
    first = UUID(film_row(farm, film).flow_run_id)
    let_lease_run_out(farm, film)
    with farm.database.write() as connection:
        again = film_lease.claim(connection, farm.owner, 60.0)
    assert again is not None
    assert (again.id, again.attempt, again.flow_run_id) == (film, 2, str(first))
    os.environ["PREFECT_API_URL"] = prefect_api
    from prefect import get_client

    with get_client(sync_client=True) as client:

        def ended() -> bool:
            return bool(client.read_flow_run(first).state.is_final())

        wait_for(ended, "the first flow run to end")
        state = client.read_flow_run(first).state
    assert (state.type.value, state.message) in (
        (
            "CANCELLED",
            "The film's lease ran out while its process was slow or away; the film continues "
            "under another flow run, attempt 2",
        ),
        ("CRASHED", GONE.message),
    )
