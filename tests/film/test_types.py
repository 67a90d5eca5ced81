"""Values cross process boundaries as JSON, and stay exactly what they were."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.plan import plan_film
from film.types import (
    Delivery,
    FilmRequest,
    FilmStatus,
    Plan,
    Take,
    from_json,
    parse_fraction,
    to_json,
)
from tests.film.making import HOUR, REVISION, a_request, few, fractions, requests, scripts


def through_json(kind: type, value: Any) -> Any:
    return from_json(kind, json.loads(json.dumps(to_json(value))))


@given(request=requests)
@few
def test_a_request_comes_back_the_same(request: FilmRequest) -> None:
    assert through_json(FilmRequest, request) == request


@given(request=scripts())
@few
def test_a_plan_comes_back_the_same(request: FilmRequest) -> None:
    plan = plan_film(request, REVISION, HOUR)
    assert through_json(Plan, plan) == plan


@given(value=st.builds(Delivery, fps=fractions))
@few
def test_a_delivery_comes_back_the_same(value: Delivery) -> None:
    assert through_json(Delivery, value) == value


plain = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=5)


@given(value=st.builds(Take, made_by=st.dictionaries(st.text(max_size=5), plain, max_size=3)))
@few
def test_a_take_comes_back_the_same(value: Take) -> None:
    assert through_json(Take, value) == value


def test_json_with_a_field_that_is_unknown_is_refused_by_its_path() -> None:
    with pytest.raises(msgspec.ValidationError, match="sizes"):
        from_json(Delivery, {"sizes": 3})


def test_json_with_a_rate_that_is_none_is_refused() -> None:
    data = to_json(Delivery(key="", num_frames=1, width=1, height=1, fps=Fraction(8),
                            size_bytes=1, sha256=""))  # fmt: skip
    with pytest.raises(msgspec.ValidationError, match=r"fps"):
        from_json(Delivery, data | {"fps": "fast"})


def test_rows_from_before_there_was_sound_are_read() -> None:
    old = to_json(TAKE)
    for field in ("sound_key", "sound_lead"):
        del old[field]
    assert from_json(Take, old) == TAKE
    plan = plan_film(a_request(), REVISION, HOUR)
    before = {name: value for name, value in to_json(plan).items() if name != "sound"}
    assert from_json(Plan, before) == plan


def test_values_cannot_be_changed() -> None:
    value = from_json(Take, to_json(TAKE))
    with pytest.raises(AttributeError):
        value.address = "other"  # type: ignore[misc]


TAKE = Take(
    address="a", video_key="v", tail_key="t", num_frames=1, size_bytes=1, sha256="", made_by={}
)


@pytest.mark.parametrize(
    ("data", "exact"),
    [
        (24, Fraction(24)),
        (0.1, Fraction(1, 10)),
        (23.976, Fraction(2997, 125)),
        ("2.5", Fraction(5, 2)),
        (" 24000/1001 ", Fraction(24000, 1001)),
        ("1e2", Fraction(100)),
        (1e-7, Fraction(1, 10**7)),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
)
def test_a_number_is_read_exactly(data: Any, exact: Fraction) -> None:
    assert parse_fraction(data) == exact


@given(value=st.fractions())
@few
def test_any_fraction_is_read_from_its_text(value: Fraction) -> None:
    assert parse_fraction(str(value)) == value


@given(value=st.floats(allow_nan=False, allow_infinity=False))
@few
def test_any_float_is_read_by_its_shortest_form(value: float) -> None:
    assert parse_fraction(value) == parse_fraction(repr(value)) == Fraction(repr(value))


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=6))
@few
def test_any_decimal_is_read_exactly(value: Any) -> None:
    assert parse_fraction(str(value)) == Fraction(value)


@pytest.mark.parametrize(
    "data",
    [
        math.inf, math.nan, "inf", "nan", "", "1/0", "fast", "1 2", True, None, [1], {}, b"1",
        "1e999999999", "1e-999999999", "1e9_9_9_9_9_9", "9" * 5000, "0x10",
    ],
    ids=lambda data: repr(data)[:12],
)  # fmt: skip
@pytest.mark.timeout(5)
def test_what_is_no_number_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        parse_fraction(data)


def test_a_film_is_final_where_only_the_user_can_go_on() -> None:
    assert {status for status in FilmStatus if status.final} == {
        FilmStatus.DELIVERED,
        FilmStatus.FAILED,
        FilmStatus.CANCELLED,
    }


READ_AT_ONCE = """
import sys, threading
from film.reading.film import film_from_prompt
from film.plan import plan_film
from film.types import FilmRequest, Plan, from_json, to_json
request = film_from_prompt("A fox wakes. It runs.", {})
written = {Plan: to_json(plan_film(request, "r1", 3600.0)), FilmRequest: to_json(request)}
sys.setswitchinterval(1e-6)
together = threading.Barrier(8)
def read():
    together.wait()
    for kind, data in written.items():
        assert to_json(from_json(kind, data)) == data
threads = [threading.Thread(target=read) for _ in range(8)]
for step in (threading.Thread.start, threading.Thread.join):
    for thread in threads:
        step(thread)
"""


def test_threads_may_read_the_first_values_of_a_process_at_the_same_time() -> None:
    # A process each time, because only the first reading crashed, two times of three.
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", READ_AT_ONCE], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
