"""The main path of one film: plan → dispatch → stitch → deliver."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Cancelled as CancelledState

from film.errors import Cancelled, LongreelError
from flows.film_work import FilmWork, Interrupted
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
        return CancelledState(message="The film was cancelled, or goes on elsewhere")
    except Interrupted:
        return CancelledState(name="Interrupted", message="This process stopped; the film goes on")


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
