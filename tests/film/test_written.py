"""A campaign that is written reads as the same campaign."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import CampaignFileError, Refusal, RefusedFilmsError
from film.reading.campaign import read_campaign
from film.reading.written import write_campaign
from film.types import Campaign
from tests.film.test_campaign import WHOLE

FILES = """\
deadline: 2026-11-30 18:00
max_workers: 3
tags: [big]
films:
  - prompt: A fox.
    image: "pictures/a: 'b'.png"
    last_image: ../c.png
    sound: false
    continuity: keyframes
    model: wan2.2-5b
    loras: [org/name/a.safetensors:0.5, {source: my:1, weight: -2}]
    flags: {tiling: true, attention: _flash_3}
  - scenes:
      - {prompt: Morning., image: m.png, seconds: 1/3}
      - {prompt: Evening., seam: continue, continuity: last_frame, last_image: e.png, seed: 0}
"""


@pytest.mark.parametrize("text", [WHOLE, FILES])
def test_everything_that_a_file_can_have_is_kept(text: str) -> None:
    campaign = read_campaign(text, "c.yaml", "unnamed")
    assert read_campaign(write_campaign(campaign), "c.json", "other") == campaign


@given(
    prompt=st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text),
    seconds=st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=1001),
    seed=st.integers(0, 2**31 - 1),
    priority=st.integers(-(2**31) + 1, 2**31 - 1),
    deadline=st.none() | st.integers(0, 2**33).map(float),
)
def test_any_values_are_kept(
    prompt: str, seconds: Fraction, seed: int, priority: int, deadline: float | None
) -> None:
    (asked,) = read_campaign(WHOLE, "c.yaml", "x").films[:1]
    film = asked.replace(
        prompt=prompt.strip(),
        seconds=seconds,
        settings=asked.settings.replace(seed=seed),
    )
    campaign = Campaign(name="x", films=(film,), priority=priority, deadline=deadline)
    assert read_campaign(write_campaign(campaign), "c.json", "x") == campaign


def test_every_film_that_is_wrong_is_named() -> None:
    text = "films:\n  - prompt: a\n    seed: -1\n  - A ball.\n  - prompt: b\n    colour: red\n"
    with pytest.raises(RefusedFilmsError) as refused:
        read_campaign(text, "c.yaml", "x")
    found = [(each.item, each.line) for each in refused.value.refusals]
    assert found == [(1, 3), (3, 6)]
    assert str(refused.value).splitlines()[0].startswith("c.yaml:3: seed: expected")


def test_a_campaign_in_which_all_is_wrong_is_not_read_to_the_end() -> None:
    text = "prompt,seed\n" + "".join(f"a,-{n}\n" for n in range(1, 500))
    with pytest.raises(RefusedFilmsError) as refused:
        read_campaign(text, "c.csv", "x")
    assert len(refused.value.refusals) == 100
    assert "… and 80 other reasons." in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"films": [', r"c\.json:1: not JSON: .* column"),
        ('{"films": [], "films": []}', "the key 'films' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "expected keys and values"),
        ('{"films": [{"prompt": "a", "seed": NaN}]}', "seed: expected"),
    ],
)
def test_json_that_is_wrong_is_refused(text: str, says: str) -> None:
    with pytest.raises(CampaignFileError, match=says):
        read_campaign(text, "c.json", "x")


def test_the_same_reason_is_given_once() -> None:
    refusals = [Refusal(n, f"Film {n} of 'x': There are no weights.") for n in range(1, 4)]
    error = RefusedFilmsError([*refusals, Refusal(4, "Film 4 of 'x': Film 3 is too long.")])
    assert str(error).splitlines() == [
        "Film 1 of 'x': There are no weights. (The same is true of 2 other films.)",
        "Film 4 of 'x': Film 3 is too long.",
    ]
    assert [each.item for each in error.refusals] == [1, 2, 3, 4]
