"""Models by their names, without looking at any file."""

from __future__ import annotations

import pytest

from film.errors import CampaignFileError, InputError
from film.families import MODELS
from film.families.lookup import NamedModel, find_model, with_weights
from film.plan import plan_film
from film.reading.campaign import read_campaign
from film.reading.film import film_from_prompt
from tests.film.making import HOUR, a_request

WAN = "wan2.1-t2v-1.3b"


def test_a_row_is_found_by_its_name_and_by_its_hub_id() -> None:
    for name, row in MODELS.items():
        assert find_model(name) is row
        assert find_model(row.source) is row
        assert find_model(f"{name}={row.source}") is row


@pytest.mark.parametrize(
    "source", ["someone/wan-finetune", "/data/my wan=2/x", "/data/one.safetensors"]
)
def test_a_row_is_called_with_other_weights(source: str) -> None:
    spec = find_model(f"{WAN}={source}")
    row = MODELS[WAN]
    assert (spec.name, spec.source, spec.row) == (f"{WAN}={source}", source, WAN)
    assert (spec.calling, spec.sizes, spec.max_frames) == (row.calling, row.sizes, row.max_frames)
    assert spec.local == source.startswith("/")
    assert spec.in_one_file == source.endswith(".safetensors")
    assert spec.licence != row.licence
    assert find_model(spec.name) == spec
    assert find_model(f"{row.source}={source}") == spec


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sora", "no model 'sora'; the models are: "),
        ("sora=/data/x", "no model 'sora=/data/x'"),
        (f"{WAN}=", "'' is not a source of weights"),
        (f"{WAN}=x", "'x' is not a source of weights"),
        (f"{WAN}=../x/y", "is not a source of weights"),
        (f"{WAN}=a/b/c", "is not a source of weights"),
        (f"{WAN}=/data/x.gguf", "is a GGUF file"),
        (f"{WAN}=org/name-q4.gguf", "is a GGUF file"),
        ("wan2.2-t2v-14b=/data/x.safetensors", "has two transformers: give a folder"),
        ("cogvideox-2b=/data/x.safetensors", "cannot be loaded from one file: give a folder"),
        (f"{WAN}=/{'x' * 500}", "longer than 500 characters"),
        (f"{WAN}=/data/\ud800", "cannot be printed"),
        (f"{WAN}=/data/a\nb", "cannot be printed"),
    ],
)
def test_what_cannot_be_is_refused_with_one_sentence(name: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        find_model(name)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_film_is_planned_as_its_row_says() -> None:
    name = f"{WAN}=/data/my wan"
    request = film_from_prompt("A fox.", {"model": name, "seconds": "3"})
    assert request.settings.model == name
    assert (request.width, request.height) == MODELS[WAN].sizes[0]
    plan = plan_film(request, "r1", HOUR)
    assert plan.model == name
    assert plan.segments[0].address != plan_film(request, "r2", HOUR).segments[0].address


def test_names_are_made_out_by_whom_it_is_told_and_notices_reach_the_plan() -> None:
    def naming(text: str) -> NamedModel:
        if text == "gone":
            raise InputError("There is no folder gone.")
        return NamedModel(name="demo", notice=f"{text} is demo")

    text = "films: [{prompt: x, model: a}]\nmatrix: {prompts: [y], models: [b, c]}\n"
    films = read_campaign(text, "c.yaml", "c", naming).films
    assert [film.settings.model for film in films] == ["demo"] * 3
    assert [plan_film(film, "r1", HOUR).notices[0] for film in films] == [
        "a is demo",
        "b is demo",
        "c is demo",
    ]
    with pytest.raises(CampaignFileError, match=r"c\.yaml:2: There is no folder gone\."):
        read_campaign("films:\n  - {prompt: x, model: gone}\n", "c.yaml", "c", naming)


def test_notices_move_no_address() -> None:
    plain, noted = (plan_film(a_request(notices=n), "r1", HOUR) for n in ((), ("Note.",)))
    assert [s.address for s in plain.segments] == [s.address for s in noted.segments]
    assert noted.notices == ("Note.", *plain.notices)


def test_a_rows_own_source_is_the_row() -> None:
    row = MODELS[WAN]
    assert with_weights(row, row.source) is row
