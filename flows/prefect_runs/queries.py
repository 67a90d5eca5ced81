"""Runs as Prefect's server has them, a page of its API at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, TaskRun

PAGE = 200
"""Most that Prefect's API gives in one answer."""

T = TypeVar("T")


def open_flow_runs(client: SyncPrefectClient, flow: str, offset: int) -> list[FlowRun]:
    """The runs of a flow that are not finished, a page from `offset` on."""
    from prefect.client.schemas import filters

    named = filters.FlowFilter(name=filters.FlowFilterName(any_=[flow]))
    kind = filters.FlowRunFilterStateType(not_any_=_final())
    left = filters.FlowRunFilter(state=filters.FlowRunFilterState(type=kind))
    return client.read_flow_runs(flow_filter=named, flow_run_filter=left, limit=PAGE, offset=offset)


def open_task_runs(client: SyncPrefectClient, flow: str, offset: int) -> list[TaskRun]:
    """The unfinished task runs of a flow's runs, a page from `offset` on."""
    from prefect.client.schemas import filters

    named = filters.FlowFilter(name=filters.FlowFilterName(any_=[flow]))
    kind = filters.TaskRunFilterStateType(any_=_not_final())
    left = filters.TaskRunFilter(state=filters.TaskRunFilterState(type=kind))
    return client.read_task_runs(flow_filter=named, task_run_filter=left, limit=PAGE, offset=offset)


def read_flow_runs(client: SyncPrefectClient, ids: Iterable[UUID]) -> list[FlowRun]:
    """The runs with these ids, as far as they are there."""
    from prefect.client.schemas import filters

    wanted, found = sorted(ids), []
    for begin in range(0, len(wanted), PAGE):
        some = filters.FlowRunFilterId(any_=wanted[begin : begin + PAGE])
        found += client.read_flow_runs(flow_run_filter=filters.FlowRunFilter(id=some), limit=PAGE)
    return found


def pages(page: Callable[[int], list[T]]) -> list[T]:
    """Everything that `page` gives from each offset on."""
    found: list[T] = []
    while True:
        more = page(len(found))
        found += more
        if len(more) < PAGE:
            return found


def _final() -> list[Any]:
    from prefect.client.schemas.objects import TERMINAL_STATES

    return sorted(TERMINAL_STATES)


def _not_final() -> list[Any]:
    from prefect.client.schemas.objects import TERMINAL_STATES, StateType

    return [kind for kind in StateType if kind not in TERMINAL_STATES]
