"""The main path of one film: plan → dispatch → stitch → deliver."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_client, runtime
from prefect.client.schemas.actions import FlowRunCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.states import Cancelled as CancelledState
from prefect.states import Pending, to_state_create

from db.films.films import Film
from film.errors import Cancelled, LongreelError
from flows.films.film_run import FilmRun, Interrupted, take_up, why_cancelled
from flows.films.prefect_step import Visible, run_as_task


@flow(name="render film", flow_run_name="{title}", persist_result=False, validate_parameters=False)
def render_film(film_id: str, title: str, attempt: int, submitted_at: float) -> State[Any] | str:
    """Renders the film whose lease `attempt` this process holds; returns the delivered key.

    It takes an id and may be run any number of times: what was done before is found in the
    database and the store, and not done again. `title` names the run in the dashboard, and
    `submitted_at` distinguishes it from runs of other farms (flows/prefect_runs/reconciler.py).
    """
    try:
        return render(take_up(film_id, attempt, flow_run_id=str(runtime.flow_run.id)))
    except Cancelled:
        return CancelledState(message=why_cancelled(film_id, attempt))
    except Interrupted:
        return CancelledState(
            name="Interrupted", message="This process stopped; the film continues"
        )


def run(film: Film) -> None:
    """Runs the flow of a film whose lease this process holds, as one flow run of Prefect.

    Raises what Prefect's client does if the server is away.
    """
    parameters = {
        "film_id": film.id,
        "title": film.title,
        "attempt": film.attempt,
        "submitted_at": film.created_at,
    }
    run_flow(render_film, create_run(parameters), parameters, return_type="state")


def create_run(parameters: dict[str, Any]) -> FlowRun:
    """Creates the flow run with these parameters, not started yet.

    Prefect's client repeats a request whose answer is late or lost. So the request has a key, by
    which the server returns the same run again. (Calling the flow would send none.)
    """
    with get_client(sync_client=True) as client:
        wanted = FlowRunCreate(
            flow_id=client.create_flow(render_film),
            parameters=parameters,
            state=to_state_create(Pending()),
            tags=["longreel", parameters["film_id"]],
            idempotency_key="{film_id}/{submitted_at}/{attempt}".format(**parameters),
        )
        body = wanted.model_dump(mode="json", exclude_unset=True)
        return FlowRun.model_validate(client.request("POST", "/flow_runs/", json=body).json())


def render(run: FilmRun, visible: Visible = run_as_task) -> str:
    """Takes a film from its plan to its delivery; returns the key of the delivered file.

    `visible` runs a step as a task that people see. However this ends, the database has it. Raises
    what ended it.
    """
    try:
        visible("plan", run.plan)
        while True:
            run.follow()  # workers render the segments; each is a task run that they report
            segments = visible("gather", run.gather)
            if segments is not None:
                break
        film = visible("stitch", lambda: run.stitch(segments))
        return visible("deliver", lambda: run.deliver(film)).key
    except Cancelled:
        raise
    except Interrupted:
        run.release()
        raise
    except LongreelError as error:
        if error.transient:  # the database or the store is away; the film continues when it is back
            run.release()
        else:
            run.fail(error)
        raise
    except Exception as error:
        run.fail(error)
        raise
    finally:
        run.remove_files()
