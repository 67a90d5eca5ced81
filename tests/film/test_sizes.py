"""The size that a model renders for the one that was asked for, for any model and size."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import InputError
from film.families import DEMO
from film.models import ModelSpec
from film.sizes import rendered_size, require_size, scale_and_crop, size_notice
from tests.film.making import few

FREE = DEMO.replace(sizes=((832, 480),), size_multiple=16, pixels=(256 * 256, 832 * 480))
LISTED = DEMO.replace(sizes=((1280, 704), (704, 1280), (960, 960)))

sides = st.integers(16, 960).map(lambda half: 2 * half)
sizes = st.tuples(sides, sides).filter(lambda size: size[0] * size[1] <= 1920 * 1080)
models = st.sampled_from((DEMO, FREE, LISTED))


@given(size=sizes, spec=models)
@few
def test_what_is_rendered_is_a_size_of_the_model(size: tuple[int, int], spec: ModelSpec) -> None:
    require_size(*size)
    width, height = rendered_size(spec, *size)
    if spec.size_multiple:
        assert width % spec.size_multiple == height % spec.size_multiple == 0
        assert width * height <= spec.pixels[1]
    else:
        assert (width, height) in spec.sizes


@given(size=sizes, spec=models)
@few
def test_a_size_that_the_model_renders_is_rendered_as_it_is(
    size: tuple[int, int], spec: ModelSpec
) -> None:
    again = rendered_size(spec, *rendered_size(spec, *size))
    assert again == rendered_size(spec, *size)
    assert size_notice(spec, again, again) is None


@given(size=sizes)
@few
def test_the_shape_of_a_free_size_is_kept_as_far_as_multiples_allow(size: tuple[int, int]) -> None:
    width, height = rendered_size(FREE, *size)
    if 0.5 < size[0] / size[1] < 2:
        assert abs(math.log(width * size[1] / (height * size[0]))) < 0.1


@given(rendered=sizes, asked=sizes)
@few
def test_what_is_scaled_covers_what_was_asked_for_and_fits_it_one_way(
    rendered: tuple[int, int], asked: tuple[int, int]
) -> None:
    scaled, cropped = scale_and_crop(rendered, asked)
    assert (scaled[0] - cropped[0], scaled[1] - cropped[1]) == asked
    assert min(cropped) == 0
    factors = scaled[0] / rendered[0], scaled[1] / rendered[1]
    rounding = 1 / min(rendered)
    assert abs(factors[0] - factors[1]) <= rounding * max(1, *factors)


@pytest.mark.parametrize(
    ("spec", "asked", "rendered"),
    [
        (FREE, (1280, 720), (832, 464)),
        (FREE, (720, 1280), (464, 832)),
        (FREE, (640, 480), (640, 480)),
        (FREE, (1080, 1080), (624, 624)),
        (LISTED, (1920, 1080), (1280, 704)),
        (LISTED, (1080, 1920), (704, 1280)),
        (LISTED, (500, 500), (960, 960)),
    ],
)
def test_known_sizes(spec: ModelSpec, asked: tuple[int, int], rendered: tuple[int, int]) -> None:
    assert rendered_size(spec, *asked) == rendered


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ((97, 64), "give even sides, such as 98x64"),
        ((16, 64), "give sides from 32 to 1920"),
        ((2000, 64), "give sides from 32 to 1920"),
        ((1920, 1920), "at most as many pixels as 1920x1080 has"),
    ],
)
def test_sizes_that_no_film_can_have(size: tuple[int, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        require_size(*size)
