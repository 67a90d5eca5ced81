"""Forms whose names have brackets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.api.bodies import nested
from db import api_keys
from film.errors import InputError
from tests.db.farm import Farm as Rows

NAMES = st.text("abcxyz_", min_size=1, max_size=6)
VALUES = st.recursive(
    st.text(max_size=8),
    lambda inner: (
        st.lists(st.text(max_size=8), min_size=1, max_size=3)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def flattened(name: str, value: Any) -> list[tuple[str, Any]]:
    """As the official client sends it."""
    if isinstance(value, dict):
        return [item for key, each in value.items() for item in flattened(f"{name}[{key}]", each)]
    if isinstance(value, list):
        return [(f"{name}[]", each) for each in value]
    return [(name, value)]


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_values_come_back_as_they_were(fields: dict[str, Any]) -> None:
    items = [item for name, value in fields.items() for item in flattened(name, value)]
    assert nested(items) == fields


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([("a", "1"), ("a", "2")], "The field a is given twice"),
        ([("a", "1"), ("a[b]", "2")], r"The field a\[b\] is an object here"),
        ([("a[b]", "1"), ("a[]", "2")], r"The field a\[\] is a list here"),
        ([("a[b]", "1"), ("a[b]", "2")], r"The field a\[b\] is given twice"),
        ([("a[][b]", "1"), ("a[]", "2")], r"The field a\[\] is a list here"),
        ([("a[]", "1"), ("a[][b]", "2")], "is a list of objects here"),
        ([("a[][b]", "1"), ("a[c]", "2")], "is an object here"),
        ([("a[][b]", "1"), ("a[][b]", "2"), ("a[][c]", "3")], "a: its objects have different"),
        ([("a[", "1")], "is not the name of a field"),
        ([("[]", "1")], "is not the name of a field"),
        ([("", "1")], "is not the name of a field"),
    ],
)
def test_fields_that_contradict_each_other_are_named(
    items: list[tuple[str, str]], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        nested(items)


@given(st.lists(st.fixed_dictionaries({"b": st.text(), "c": st.text()}), min_size=1, max_size=4))
def test_lists_of_objects_come_back_in_either_order(objects: list[dict[str, str]]) -> None:
    by_object = [(f"a[][{name}]", each[name]) for each in objects for name in ("b", "c")]
    by_field = [(f"a[][{name}]", each[name]) for name in ("b", "c") for each in objects]
    assert nested(by_object) == nested(by_field) == {"a": objects}
    assert nested([(f"x[{name[0]}]{name[1:]}", value) for name, value in by_field])


def test_what_is_nested_too_deeply_is_refused(client: TestClient) -> None:
    deep = b'{"prompt": "a", "tags": ' + b"[" * 900 + b"]" * 900 + b"}"
    name = "a" + "[b]" * 3000
    for content, kind in (
        (deep, "application/json"),
        (f"{name}=1".encode(), "application/x-www-form-urlencoded"),
        (
            b'{"a": "' + b"]" * 100 + b'", "b": ' + b"[" * 900 + b"]" * 900 + b"}",
            "application/json",
        ),
    ):
        answer = client.post("/v1/videos", content=content, headers={"content-type": kind})
        assert answer.status_code == 400
        assert "more than 64" in answer.json()["error"]["message"]


def test_numbers_of_thousands_of_digits_are_refused(client: TestClient) -> None:
    for path in ("/v1/videos", "/v1/files", "/api/v1/films", "/api/v1/campaigns"):
        assert client.get(path, params={"limit": "9" * 5000}).status_code in (400, 422)


def test_what_cannot_be_recorded_as_it_is_is_recorded(client: TestClient, rows: Rows) -> None:
    client.post("/api/v1/films/%00/cancel")
    client.request("PROPPATCHING", "/api/v1/films")
    noted = rows.read(api_keys.history, 9)
    assert [row.method for row in noted] == ["PROPPATC", "POST"]
    assert noted[1].path == r"/api/v1/films/\0/cancel"
