"""LoRAs as they are written, and what a film is planned with."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import CampaignFileError, InputError
from film.families import MODELS
from film.loras import HubPlace, hub_place, read_lora, read_loras, settled
from film.plan import plan_film
from film.reading.campaign import read_campaign
from film.reading.film import film_from_prompt, read_script
from film.types import FilmRequest, Lora, from_json, to_json
from tests.film.making import HOUR, REVISION, a_request, addresses, few

A, B = "a" * 64, "b" * 64


def of(*loras: Lora, model: str = "demo", **more: Any) -> FilmRequest:
    return a_request(loras=loras, model=model, **more)


def lora(digest: str = A, **more: Any) -> Lora:
    return Lora(name=f"{digest[0]}.safetensors", digest=digest, **more)


@pytest.mark.parametrize(
    ("text", "name", "weight", "expert"),
    [
        ("style.safetensors", "style.safetensors", 1.0, None),
        ("style.safetensors:0.8", "style.safetensors", 0.8, None),
        ("style.safetensors:-.5", "style.safetensors", -0.5, None),
        ("  a b.safetensors : 2. ", "a b.safetensors : 2.", 1.0, None),
        ("a:b/style.safetensors", "a:b/style.safetensors", 1.0, None),
        ("a:b/style.safetensors:3", "a:b/style.safetensors", 3.0, None),
        ("a:1/2", "a:1/2", 1.0, None),
        ("a:", "a:", 1.0, None),
        ("a:nan", "a:nan", 1.0, None),
        ("a:1e0", "a:1e0", 1.0, None),
        ("org/name@v1:0.5:low", "org/name@v1", 0.5, "low"),
        ("org/name:high", "org/name", 1.0, "high"),
        ("org/name:low:0.5", "org/name:low", 0.5, None),
    ],
)
def test_a_text_is_a_source_a_weight_and_an_expert(
    text: str, name: str, weight: float, expert: str | None
) -> None:
    assert read_lora(text) == Lora(name=name, weight=weight, expert=expert)  # type: ignore[arg-type]


@given(
    source=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1).filter(
        lambda text: not text.endswith((":high", ":low"))
    ),
    weight=st.none() | st.decimals(-4, 4, places=3).map(lambda number: f"{number:f}"),
    expert=st.sampled_from(["", ":high", ":low"]),
)
@few
def test_whatever_the_source_is_its_weight_is_what_was_written(
    source: str, weight: str | None, expert: str
) -> None:
    read = read_lora(f"{source}{'' if weight is None else ':' + weight}{expert}")
    assert read.expert == (expert[1:] or None)
    if weight is not None:
        assert (read.name, read.weight) == (source, float(weight))
    else:  # what a source ends with may be a weight
        assert source in (read.name, f"{read.name}:{source.rpartition(':')[2]}")
        assert (read.name == source) == (read.weight == 1.0) or read.weight == 1.0


plain = st.none() | st.integers() | st.floats() | st.text()
keys = st.sampled_from(["source", "weight", "expert", "x"])


@given(st.recursive(plain, lambda v: st.lists(v) | st.dictionaries(keys, v), max_leaves=5))
@few
def test_whatever_is_read_can_be_loaded_and_all_else_is_a_value_error(value: Any) -> None:
    read: tuple[Lora, ...] = ()
    with suppress(ValueError):
        read = read_loras(value)
    assert all(one.name.isprintable() and one.name and abs(one.weight) <= 4 for one in read)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"weight": 1}, "needs a source"),
        ({"source": "a", "strength": 1}, "unknown key 'strength'"),
        ({"source": "a", "weight": "x"}, "expected a number"),
        ({"source": "a", "weight": 5}, "weight from -4 to 4, got 5 for a"),
        ({"source": "a", "expert": "both"}, "expected high or low"),
        ("a:4.1", "weight from -4 to 4"),
        ("", "needs a source"),
        (7, "expected SOURCE:WEIGHT"),
        (["a"] * 17, "at most 16"),
    ],
)
def test_what_cannot_be_is_refused(value: Any, says: str) -> None:
    with pytest.raises(CampaignFileError, match=f"^loras: .*{says}"):
        film_from_prompt("A fox.", {"loras": value})


def test_files_and_options_name_them() -> None:
    text = "loras: [a:0.5, {source: b, weight: -1}]\nscenes: [A fox.]\n"
    assert read_script(text, "s.yaml", {}).settings.loras == (
        Lora(name="a", weight=0.5),
        Lora(name="b", weight=-1.0),
    )
    read = read_script(text, "s.yaml", {"loras": ["c"]})
    assert read.settings.loras == (Lora(name="c"),)
    text = "defaults: {loras: [a]}\nfilms: [x, {prompt: y, loras: []}, {prompt: z, lora: b}]\n"
    films = read_campaign(text, "c.yaml", "c").films
    assert [[one.name for one in film.settings.loras] for film in films] == [["a"], [], ["b"]]
    with pytest.raises(CampaignFileError, match=r"c\.yaml:2: loras: .*from -4 to 4"):
        read_campaign("films:\n  - {prompt: x, loras: [a:9]}\n", "c.yaml", "c")
    (film,) = read_campaign("prompt,loras\nx,a:2\n", "c.csv", "c").films
    assert film.settings.loras == (Lora(name="a", weight=2.0),)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("org/name", ("org/name", None, "")),
        ("org/name@v1.0", ("org/name", "v1.0", "")),
        ("org/name/a b/x.safetensors", ("org/name", None, "a b/x.safetensors")),
        ("org/name@ab12/x.safetensors", ("org/name", "ab12", "x.safetensors")),
        ("name", None),
        ("x.safetensors", None),
        ("/abs/x.safetensors", None),
        ("./x/y", None),
        ("org/name/x.bin", None),
        ("org/../x.safetensors", None),
    ],
)
def test_a_place_on_the_hub_has_two_names(source: str, place: Any) -> None:
    found = hub_place(source)
    if place is None:
        assert found is None
    else:
        assert found == HubPlace(repository=place[0], revision=place[1], file=place[2])


def plan(request: FilmRequest) -> Any:
    return plan_film(request, REVISION, HOUR)


def test_they_decide_the_address_by_content_weight_and_expert_and_not_by_name_or_order() -> None:
    plain = addresses(plan(of()))
    one, other = lora(), lora(B)
    both = addresses(plan(of(one, other)))
    assert addresses(plan(of(other, one))) == both
    renamed = Lora(name="else", digest=A)
    assert addresses(plan(of(renamed, other))) == both
    different = [plain, both, *(addresses(plan(of(x))) for x in (one, other, lora(weight=0.5)))]
    assert len({tuple(each) for each in different}) == 5
    assert plan(of(other, one)).loras == (one, other)
    assert from_json(type(plan(of(one))), to_json(plan(of(one)))) == plan(of(one))


def test_an_expert_is_for_models_that_have_two() -> None:
    row = MODELS["wan2.2-t2v-14b"]
    planned = plan(of(lora(), lora(expert="low"), model=row.name, width=1280, height=720))
    assert [one.expert for one in planned.loras] == ["high", "low"]
    assert [notice for notice in planned.notices if "LoRA" in notice] == [
        "The LoRA a.safetensors changes the transformer for high noise only; give it the expert "
        "low for the other one (a.safetensors:1:low)."
    ]
    told = plan(of(lora(expert="high"), lora(expert="low"), model=row.name, width=1280, height=720))
    assert addresses(told) == addresses(planned)
    assert not [notice for notice in told.notices if "LoRA" in notice]
    with pytest.raises(InputError, match="has one transformer: leave out the expert"):
        plan(of(lora(expert="low")))


def test_models_that_take_none_and_the_same_twice_are_refused() -> None:
    with pytest.raises(InputError, match="'mochi2' takes no LoRAs"):
        settled(MODELS["svd-xt"].__class__(**fields("svd-xt", name="mochi2")), [lora()])
    with pytest.raises(InputError, match="given twice"):
        plan(of(lora(), lora(weight=0.5)))


def fields(row: str, **changes: Any) -> dict[str, Any]:
    spec = MODELS[row]
    return {name: getattr(spec, name) for name in spec.__struct_fields__} | changes
