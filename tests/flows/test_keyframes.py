"""A film between keyframes through the product: submitted, rendered by workers, delivered."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks.frames import read_frames
from db.films import films
from db.films.films import Film
from db.segments import progress, takes
from film.reading.campaign import read_campaign
from film.types import FilmStatus, SegmentStatus, Take
from flows.farm import Farm
from flows.run_local import WorkerOptions, working
from flows.submission.submit import submit
from media.tail import read_tail
from media.verify import verify_film
from tests.flows.test_campaign import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]

SCENES = """
films:
  - title: Keyframes
    steps: 4
    continuity: keyframes
    scenes:
      - prompt: A red ball stands still on green grass under a blue sky.
        seconds: 5
      - prompt: A red ball stands still on green grass under a pink sky.
        seconds: 3
        seam: continue
"""


READY, WAITING, LEASED, DONE = (
    SegmentStatus.READY,
    SegmentStatus.WAITING,
    SegmentStatus.LEASED,
    SegmentStatus.DONE,
)


def film(farm: Farm, film_id: str) -> Film:
    with farm.database.read() as connection:
        return films.get(connection, film_id)


def take_of(farm: Farm, address: str) -> Take:
    with farm.database.read() as connection:
        take = takes.find(connection, address)
    assert take
    return take


def statuses(farm: Farm, film_id: str) -> list[SegmentStatus]:
    with farm.database.read() as connection:
        return [row.status for row in progress.of_film(connection, film_id)]


def test_segments_wait_for_their_anchor_only_and_the_film_has_its_frames(
    farm: Farm, tmp_path: Path
) -> None:
    (film_id,) = submit(farm, read_campaign(SCENES, "keys.yaml", "keys"))
    seen = []

    def delivered() -> bool:
        seen.append(statuses(farm, film_id))
        return film(farm, film_id).status is FilmStatus.DELIVERED

    assert statuses(farm, film_id) == [READY, *[WAITING] * 6]
    with working(farm, WorkerOptions(name="mine")) as work:
        wait_for(lambda: work.require_working() or delivered(), "the film")
    # Once their anchor is there, nothing but a worker is missing to any of the three.
    assert all(WAITING not in look[1:4] for look in seen if look[0] is DONE)
    assert any(sum(one in (READY, LEASED) for one in look[1:4]) >= 2 for look in seen)
    made = film(farm, film_id)
    assert made.delivery
    farm.store.get_file(made.delivery.key, tmp_path / "film.mp4")
    verify_film(tmp_path / "film.mp4", num_frames=64, width=96, height=64, fps=Fraction(8))
    # Between neighbours of a scene, and over the seam that continues.
    assert [seam.frame for seam in made.delivery.seams] == [17, 33, 40, 56]

    anchor, second = (s for s in made.plan.segments if s.keyframes)
    for segment in (anchor, second):
        take = take_of(farm, segment.address)
        farm.store.get_file(take.tail_key, tmp_path / "keyframes.mkv")
        farm.store.get_file(take.video_key, tmp_path / "anchor.mp4")
        assert len(read_tail(tmp_path / "keyframes.mkv")) == len(segment.keyframes)
        assert len(read_frames(tmp_path / "anchor.mp4")) == 17
    # The second scene continues its first keyframe, as it is.
    before_key = take_of(farm, made.plan.segments[3].address).tail_key
    farm.store.get_file(before_key, tmp_path / "before.mkv")
    before = read_tail(tmp_path / "before.mkv")[-1]
    assert (read_tail(tmp_path / "keyframes.mkv")[0] == before).all()
