"""Kinds of work: what is in their names, and which worker can render which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.engine import Database
from db.segments.work_kinds import kind_of, model_of, weights_of
from db.tables import kinds
from film.plan import plan_film
from film.types import FilmRequest, Lora
from tests.db.farm import Farm, a_film
from tests.film.making import HOUR, a_request, few

LORAS = (
    Lora(name="a", digest="1f3a90c2" + "0" * 56, weight=0.8),
    Lora(name="b", digest="b" * 64, weight=-1.0),
)
tags = st.lists(st.from_regex(r"[A-Za-z0-9][\w.-]{0,8}", fullmatch=True), max_size=2)


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def name_of(request: FilmRequest, tags: list[str]) -> str:
    plan = plan_film(request, "r1", HOUR)
    return kind_of(plan, plan.segments[0], tags).name


def test_a_kind_names_what_must_be_loaded_beside_the_model() -> None:
    plain, one, both = (name_of(a_request(loras=LORAS[:n]), ["big"]) for n in (0, 1, 2))
    assert plain == "demo 96x64x17 +big"
    assert one == "demo 96x64x17 lora:1f3a90c2:0.8 +big"
    assert both == "demo 96x64x17 lora:1f3a90c2:0.8 lora:bbbbbbbb:-1 +big"
    low = Lora(name="a", digest="c" * 64, expert="low")
    request = a_request(model="wan2.2-t2v-14b", width=1280, height=720, loras=(low,))
    assert name_of(request, []).split() == ["wan2.2-t2v-14b", "1280x720x81", "lora:cccccccc:1:low"]


@given(
    folder=st.text("aé 1x/+:=@語", max_size=20),
    needed=tags,
    count=st.integers(0, 2),
)
@few
def test_the_model_is_found_again_in_every_kind(folder: str, needed: list[str], count: int) -> None:
    model = f"demo=/data/{folder} 96x64x17/x"
    request = a_request(model=model, loras=LORAS[:count])
    assert model_of(name_of(request, needed)) == model


@pytest.mark.parametrize("word", ["", "demo"])
def test_what_is_no_kind_is_a_model(word: str) -> None:
    assert model_of(word) == word


def test_a_worker_takes_only_what_it_has_the_weights_of(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=1))
    assert farm.try_claim(weights=()) is None
    assert farm.try_claim(weights=(weights_of("demo", "r2"),)) is None
    assert farm.try_claim(models=(), weights=(weights_of("demo", "r1"),)) is None
    claimed = farm.claim(weights=(weights_of("demo", "r2"), weights_of("demo", "r1")))
    assert claimed.film_id == film


def test_kinds_of_before_have_no_revision_and_anyone_with_the_model_takes_them(farm: Farm) -> None:
    farm.submit(a_film(segments_each=1))
    with farm.database.write() as connection:
        connection.execute(kinds.update().values(revision=None))
    assert farm.try_claim(weights=()) is not None


def test_a_worker_prefers_the_additions_that_it_has_loaded(farm: Farm) -> None:
    plain, other, same = (
        a_request(title=str(number), seconds=2, seed=number, loras=LORAS[:number])
        for number in range(3)
    )
    ids = farm.submit(plain, other, same)
    assert farm.claim(warm="demo 96x64x17 lora:1f3a90c2:0.8").film_id == ids[1]
    assert farm.claim(warm="demo 96x64x17").film_id == ids[0]
