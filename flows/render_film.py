"""The main path of one film: plan → dispatch → stitch → deliver."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_client, runtime
from prefect.client.schemas.actions import FlowRunCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.states import Cancelled as CancelledState
from prefect.states import Pending, to_state_create

from db.films import Film
from film.errors import Cancelled, LongreelError
from flows.film_work import FilmWork, Interrupted, why_cancelled
from flows.tasks import visible


@flow(name="render film", flow_run_name="{title}", persist_result=False, validate_parameters=False)
def render_film(film_id: str, title: str, attempt: int, submitted_at: float) -> State[Any] | str:
    """Renders the film whose lease `attempt` this process holds; returns the delivered key.

    It takes an id and may be run any number of times: whatever was done before is found in the
    database and the store, and not done again. `title` names the run in the dashboard, and
    `submitted_at` tells it from those of other farms (flows/reconcile.py).
    """
    try:
        work = FilmWork.of(film_id, attempt, flow_run_id=str(runtime.flow_run.id))
        return _render(work)
    except Cancelled:
        return CancelledState(message=why_cancelled(film_id, attempt))
    except Interrupted:
        return CancelledState(name="Interrupted", message="This process stopped; the film goes on")


def run(film: Film) -> None:
    """Runs the flow of a film whose lease this process holds, as one flow run of Prefect's.

    Raises what Prefect's client does where its server is away.
    """
    parameters = {
        "film_id": film.id,
        "title": film.title,
        "attempt": film.attempt,
        "submitted_at": film.created_at,
    }
    run_flow(render_film, created(parameters), parameters, return_type="state")


def created(parameters: dict[str, Any]) -> FlowRun:
    """The flow run with these parameters, begun by nobody yet.

    A request whose answer is late or lost is sent again by Prefect's client. So it has a key, by
    which the server gives the same run again. (Calling the flow would create one without.)
    """
    with get_client(sync_client=True) as client:
        wanted = FlowRunCreate(
            flow_id=client.create_flow(render_film),
            parameters=parameters,
            state=to_state_create(Pending()),
            idempotency_key="{film_id}/{submitted_at}/{attempt}".format(**parameters),
        )
        body = wanted.model_dump(mode="json", exclude_unset=True)
        return FlowRun.model_validate(client.request("POST", "/flow_runs/", json=body).json())


def _render(work: FilmWork) -> str:
    try:
        visible("plan", work.plan)
        while True:
            work.follow()  # workers render the segments; each is a task run that they report
            segments = visible("gather", work.gather)
            if segments is not None:
                break
        film = visible("stitch", lambda: work.stitch(segments))
        return visible("deliver", lambda: work.deliver(film)).key
    except Cancelled:
        raise
    except Interrupted:
        work.release()
        raise
    except LongreelError as error:
        if error.transient:  # the database or the store is away; the film goes on when it is back
            work.release()
        else:
            work.fail(error)
        raise
    except Exception as error:
        work.fail(error)
        raise
    finally:
        work.tidy()
