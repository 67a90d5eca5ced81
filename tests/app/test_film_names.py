"""Names of downloaded films."""

from __future__ import annotations

import pytest

from db.films.films import Film
from film.types import FilmStatus
from flows.deliveries import film_file_name
from tests.db.farm import a_film, planned_as


def a_delivered(number: int, title: str, seed: int = 7) -> Film:
    """A film of a campaign."""
    request = a_film().replace(title=title)
    request = request.replace(settings=request.settings.replace(seed=seed))
    return Film(
        id=f"k3f9x2-{number}",
        campaign="k3f9x2",
        title=title,
        status=FilmStatus.DELIVERED,
        request=request,
        plan=planned_as(request),
        delivery=None,
        owner=None,
        attempt=1,
        flow_run_id=None,
        created_at=0.0,
    )


@pytest.mark.parametrize(
    ("number", "of", "title", "name"),
    [
        (3, 1, "A red ball", "k3f9x2-3-a-red-ball-seed7-96x64.mp4"),
        (3, 120, "A red ball", "k3f9x2-003-a-red-ball-seed7-96x64.mp4"),
        (12, 12, "A ball · seed 7 · size 96x64", "k3f9x2-12-a-ball-seed7-96x64.mp4"),
        (1, 9, "海边的故事。", "k3f9x2-1-海边的故事-seed7-96x64.mp4"),
        (1, 9, "…", "k3f9x2-1-film-seed7-96x64.mp4"),
    ],
)
def test_files_sort_in_order_and_say_seed_and_size(
    number: int, of: int, title: str, name: str
) -> None:
    assert film_file_name(a_delivered(number, title), of) == name


def test_a_long_title_does_not_cut_the_seed_off() -> None:
    name = film_file_name(a_delivered(1, "word " * 40, seed=2**31 - 1), 1)
    assert name.endswith("-seed2147483647-96x64.mp4")
    assert len(name) < 90
