"""How the GPUs of a machine are group_gpus out among its worker processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.worker import create_children
from film.errors import InputError
from flows.machine.gpus import group_gpus
from flows.run_local import WorkerOptions


@given(st.lists(st.integers(0, 31).map(str), unique=True), st.none() | st.integers(2, 8))
def test_each_group_has_as_many_as_render_together(there: list[str], together: int | None) -> None:
    size = together or 1
    if 0 < len(there) < size:
        with pytest.raises(InputError, match=f"{size} GPUs are to render together"):
            group_gpus(there, together)
        return
    made = group_gpus(there, together)
    groups = [group.split(",") for group in made.groups]
    assert all(len(group) == size for group in groups)
    assert [gpu for group in groups for gpu in group] + list(made.left) == there
    assert len(made.left) < size


def test_a_group_is_all_that_its_process_sees() -> None:
    children = create_children(WorkerOptions(name="big"), ["cuda:0,1", "cuda:2,3"], [])
    assert [child.name for child in children] == ["big-0-1", "big-2-3"]
    assert [child._environment["CUDA_VISIBLE_DEVICES"] for child in children] == ["0,1", "2,3"]
