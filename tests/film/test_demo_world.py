"""The demo model's closed world: any prompt is read, and what is not known is noted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.demo_world import (
    UNSAID,
    Colour,
    Floor,
    Motion,
    Scenery,
    Shape,
    Sky,
    known_words,
    plain_caption,
    read_prompt,
)
from training.demo import captions
from training.demo.world import all_combinations

sceneries = st.builds(
    Scenery,
    shape=st.sampled_from(Shape),
    colour=st.sampled_from(Colour),
    sky=st.sampled_from(Sky),
    floor=st.sampled_from(Floor),
    motion=st.sampled_from(Motion),
)


@given(st.sampled_from(all_combinations()), st.integers(0, 2**32))
def test_every_training_caption_is_understood_and_left_as_it_is(combination, seed):
    text = captions.caption(combination, np.random.default_rng(seed))
    reading = read_prompt(text)
    assert plain_caption(reading.shown) == plain_caption(combination)
    assert (reading.prompt, reading.notice) == (text, "")


@given(sceneries)
def test_the_plain_wording_of_a_scenery_says_that_scenery(scenery):
    assert read_prompt(plain_caption(scenery)).shown == scenery


@given(st.text(max_size=300))
def test_any_text_gives_a_prompt_of_known_words_and_nothing_is_changed_silently(text):
    reading = read_prompt(text)
    assert reading.notice or reading.prompt == text
    assert read_prompt(reading.prompt).shown == reading.shown
    if reading.prompt != text:
        assert set(reading.prompt.split()) <= known_words()
        assert reading.prompt in reading.notice


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("", "a red ball rolls to the right over green grass under a blue sky"),
        (
            "A dragon flies over the sea at dusk",
            "a red triangle rises over sand under a sunset sky",
        ),
        (
            "A green house in the snow",
            "a green square rolls to the right over snow under a blue sky",
        ),
        ("The moon, golden, sinks in fog", "a yellow ball falls over green grass under a grey sky"),
        (
            "a blue cube rises and then falls over sand under a pink sky",
            "a blue square rises over sand under a pink sky",
        ),
        (
            "a purpel tirangle moves left over the road under a night sky",
            "a purple triangle rolls to the left over a road under a night sky",
        ),
        (
            "Ein roter Ball rollt nach links",
            "a red ball rolls to the right over green grass under a blue sky",
        ),
    ],
)
def test_what_lies_outside_the_world_becomes_the_nearest_in_it_and_is_told(prompt, shown):
    reading = read_prompt(prompt)
    assert reading.prompt == shown
    assert reading.notice == f'rendered as "{shown}"'


def test_a_thing_that_cannot_be_drawn_beside_a_whole_scenery_is_named():
    prompt = "A red ball with a hat rolls to the left over green grass under a blue sky."
    reading = read_prompt(prompt)
    assert reading.prompt == prompt
    assert reading.notice == 'rendered without "hat"'


def test_a_colour_belongs_to_the_thing_it_stands_before():
    shown = read_prompt("A ball that is yellow waits on a grey road under an orange sky").shown
    assert (shown.colour, shown.floor, shown.sky) == (Colour.YELLOW, Floor.ROAD, Sky.SUNSET)
    shown = read_prompt("A bright golden red ball at night").shown
    assert (shown.colour, shown.sky) == (Colour.YELLOW, Sky.NIGHT)


def test_what_is_left_open_is_filled_in():
    assert read_prompt("nothing of this").shown == UNSAID
