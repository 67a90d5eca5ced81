"""docs/add-a-model.md is true: one row is all that a new family needs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from db.films import films
from db.segments import takes
from film.families import MODELS
from film.models import Calling, ModelSpec
from film.reading.campaign import read_campaign
from film.types import Continuity, FilmStatus
from flows.farm import Farm
from flows.run_local import WorkerOptions, working
from flows.submission.submit import submit
from media.verify import verify_film
from tests.flows.test_campaign import wait_for
from tests.renderer import tiny

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_a_family_is_added_with_one_row_and_renders_films(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.build("ltx2", tmp_path / "weights")
    row = ModelSpec(
        name="added",
        family="added",
        title="A family that nobody knew",
        source=f"package:{folder}",
        licence="none",
        calling=Calling(
            pipelines={"text": "LTX2ConditionPipeline", "window": "LTX2ConditionPipeline"},
            fps="frame_rate",
            window="conditions",
        ),
        frame_step=8,
        min_frames=9,
        max_frames=17,
        sizes=((64, 64),),
        size_multiple=32,
        pixels=(64 * 64, 128 * 64),
        native_fps=Fraction(8),
        continuity=(Continuity.TAIL_WINDOW, Continuity.CUT),
        overlap_frames=9,
        num_inference_steps=2,
        guidance_scale=3.0,
    )
    monkeypatch.setitem(MODELS, "added", row)
    asked = '{"prompt": "Rain falls.", "model": "added", "seconds": 3, "size": "160x90"}'
    (film_id,) = submit(farm, read_campaign(asked, "added.jsonl", "added"))

    def delivered() -> bool:
        with farm.database.read() as connection:
            return films.get(connection, film_id).status is FilmStatus.DELIVERED

    with working(farm, WorkerOptions(name="mine", models=("added",))) as work:
        wait_for(lambda: work.require_working() or delivered(), "the film")
    with farm.database.read() as connection:
        film = films.get(connection, film_id)
        made = takes.of_film(connection, film_id)
    assert film.plan.rendered_size == (128, 64)
    assert [segment.overlap_frames for segment in film.plan.segments] == [0, 9]
    assert film.delivery
    assert len(film.delivery.seams) == 1
    farm.store.get_file(film.delivery.key, tmp_path / "film.mp4")
    verify_film(tmp_path / "film.mp4", num_frames=24, width=160, height=90, fps=Fraction(8))
    assert {take.made_by["model"] for take in made} == {"added"}
    assert {take.made_by["revision"] for take in made} == {film.plan.revision}
