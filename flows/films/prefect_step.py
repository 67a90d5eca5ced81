"""A step of a film's flow as a task run that people see in the Prefect dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from prefect import task

from film.errors import LongreelError

T = TypeVar("T")


class Visible(Protocol):
    """Runs a step of a film under a name that people see."""

    def __call__(self, name: str, step: Callable[[], T]) -> T:
        """Returns and raises what the step does."""
        ...


def run_as_task(name: str, step: Callable[[], T]) -> T:
    """Runs `step` as a Prefect task run called `name`; a transient error has it tried three times
    more.

    The step takes no arguments, because Prefect would inspect them, and a film run holds an engine
    and a thread.
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
