"""A step of a film's flow as a task run that people see in the Prefect dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task

from film.errors import LongreelError

T = TypeVar("T")


def visible(name: str, step: Callable[[], T]) -> T:
    """Runs `step` as a task run called `name`; what is transient is tried again, thrice.

    The step takes no arguments, since Prefect would look through them, and a film in our hands
    holds an engine and a thread.
    """
    as_task = task(
        name=name,
        task_run_name=name,
        retries=3,
        retry_delay_seconds=[1, 5, 20],
        retry_condition_fn=_is_transient,
        persist_result=False,
    )
    return as_task(step)()


def _is_transient(_task: Any, _run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, LongreelError) and error.transient
