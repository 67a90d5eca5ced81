"""Values with tensors as files: read as they were written, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from renderer.pipeline import tensor_files

PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text()
TENSOR = st.builds(
    lambda shape, kind: torch.randn(shape).to(kind),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
)
VALUES = st.recursive(
    PLAIN | TENSOR,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list | tuple):
        pairs = zip(one, other, strict=True)
        return type(one) is type(other) and all(same(*pair) for pair in pairs)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@given(VALUES)
def test_a_value_is_read_as_it_was_written(tmp_path_factory: Any, value: Any) -> None:
    path = tmp_path_factory.mktemp("kept") / "value"
    tensor_files.write(path, (value,))
    (read,) = tensor_files.read(path, "cpu")
    assert same(read, value)
    assert list(path.parent.iterdir()) == [path]


def test_a_tensor_that_is_a_view_of_another_is_written_alone(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    tensor_files.write(tmp_path / "value", [whole.T, whole[1]])
    turned, row = tensor_files.read(tmp_path / "value", "cpu")
    assert torch.equal(turned, whole.T)
    assert torch.equal(row, whole[1])


@pytest.mark.parametrize("value", [object(), {1: "a key that is not a text"}, [{2, 3}]])
def test_a_value_of_another_kind_is_refused_and_no_file_is_left(tmp_path: Path, value: Any) -> None:
    with pytest.raises(tensor_files.Unsuitable):
        tensor_files.write(tmp_path / "value", value)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_read_as_none(tmp_path: Path) -> None:
    assert tensor_files.read(tmp_path / "value", "cpu") is None


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "without a form"])
def test_a_damaged_file_is_read_as_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "value"
    tensor_files.write(path, torch.zeros(8))
    if damage == "without a form":
        tensor_files.save_file({"0": torch.zeros(8)}, path)
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "cut": whole[:-4], "text": b"nothing"}[damage])
    assert tensor_files.read(path, "cpu") is None
