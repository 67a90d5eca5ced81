"""From a leased segment to a job, and the files that it is rendered from."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.films import films
from db.films.films import Film
from db.segments import takes
from db.segments.claims import Lease
from film.errors import InputError, ObjectMissingError, StoreUnreachableError
from film.types import JobFiles, RenderFlags, Take
from flows.worker.inputs import fetch_inputs
from flows.worker.render_job import render_job
from flows.worker.segment_task import prepare_task
from storage import keys
from storage.keys import TakeFile
from tests.db.farm import a_film
from tests.flows.worker.conftest import Bench, files


def claimed(bench: Bench) -> tuple[Lease, Film]:
    """The next segment and its film."""
    lease = bench.claimer.claim(None)
    assert lease is not None
    film: Film = bench.rows.read(films.get, lease.film_id)
    return lease, film


def second_of_a_chain(bench: Bench) -> tuple[Lease, Film]:
    """A segment that continues another one, whose tail is in the store."""
    bench.submit(a_film(segments_each=2))
    lease, film = claimed(bench)
    tail = bench.farm.settings.home / "tail.mkv"
    tail.write_text("the last frames")
    bench.rows.finish(lease)
    bench.farm.store.put_file(first_take(bench, film).tail_key, tail)
    return claimed(bench)


def first_take(bench: Bench, film: Film) -> Take:
    """The take of a film's first segment."""
    take: Take = bench.rows.read(takes.find, film.plan.segments[0].address)
    return take


def test_a_job_is_composed_of_its_segment_and_settings(bench: Bench) -> None:
    bench.submit()
    lease, film = claimed(bench)
    job = render_job(lease, film, JobFiles(tail="x.mkv"), RenderFlags())
    assert (job.segment_id, job.attempt) == (lease.id, lease.attempt)
    assert job.segment == film.plan.segments[0]
    assert job.settings == film.request.settings
    assert job.rendered_size == film.plan.rendered_size
    assert job.film_size == (film.plan.width, film.plan.height)
    assert (job.revision, job.fps) == ("r1", film.plan.fps)
    assert job.tail_frames == 5
    assert job.files.tail == "x.mkv"


def test_flags_that_the_film_leaves_open_are_the_machines(bench: Bench) -> None:
    bench.submit()
    lease, film = claimed(bench)
    job = render_job(lease, film, JobFiles(), RenderFlags(compile=True))
    assert job.settings.flags.compile
    assert not film.request.settings.flags.compile


def test_the_tail_of_the_segment_before_is_fetched(bench: Bench, tmp_path: Path) -> None:
    lease, film = second_of_a_chain(bench)
    fetched = fetch_inputs(bench.farm, film, lease.position, tmp_path)
    assert fetched.tail is not None
    assert Path(fetched.tail).read_text() == "the last frames"
    assert fetched.image is None


def test_after_a_cut_there_is_nothing_to_fetch(bench: Bench, tmp_path: Path) -> None:
    bench.submit()
    lease, film = claimed(bench)
    assert fetch_inputs(bench.farm, film, lease.position, tmp_path) == JobFiles()
    assert files(tmp_path / "none") == []


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_tail_that_is_gone_has_its_segment_rendered_again(
    bench: Bench, tmp_path: Path, damage: str
) -> None:
    lease, film = second_of_a_chain(bench)
    key = first_take(bench, film).tail_key
    if damage == "missing":
        bench.farm.store.delete(key)
    else:
        (bench.farm.settings.home / "store" / key).write_text("something else")
    with pytest.raises(ObjectMissingError):
        fetch_inputs(bench.farm, film, lease.position, tmp_path)
    assert bench.rows.statuses(film.id)[0] == "ready"
    with bench.database.read() as connection:
        assert takes.made_by(connection, film.id) == {}


def test_a_store_that_is_away_has_nothing_forgotten(bench: Bench, tmp_path: Path) -> None:
    lease, film = second_of_a_chain(bench)
    bench.store.error = StoreUnreachableError("Away.")
    with pytest.raises(StoreUnreachableError):
        fetch_inputs(bench.farm, film, lease.position, tmp_path)
    assert bench.rows.statuses(film.id)[0] == "done"


def test_a_picture_of_the_user_that_is_gone_is_named(bench: Bench, tmp_path: Path) -> None:
    bench.submit()
    lease, film = claimed(bench)
    segment = film.plan.segments[0].replace(image="ab" * 32)
    film = film.replace(plan=film.plan.replace(segments=(segment,)))
    with pytest.raises(InputError, match=r"picture abababab .* submit the film again"):
        fetch_inputs(bench.farm, film, lease.position, tmp_path)


def test_a_task_that_cannot_be_prepared_leaves_no_files(bench: Bench) -> None:
    lease, film = second_of_a_chain(bench)
    bench.farm.store.delete(first_take(bench, film).tail_key)
    with pytest.raises(ObjectMissingError):
        prepare_task(bench.farm, bench.heartbeat.hold(lease))
    assert [path for path in bench.farm.scratch.open().iterdir() if path.is_dir()] == []


def test_a_retake_changes_the_seed_and_nothing_else(bench: Bench) -> None:
    bench.submit()
    lease = bench.claimer.claim(None)
    assert lease is not None
    task = prepare_task(bench.farm, bench.heartbeat.hold(lease))
    again = task.retake(1)
    assert again.segment.seed != task.job.segment.seed
    assert again.segment.replace(seed=0) == task.job.segment.replace(seed=0)
    assert again.replace(segment=task.job.segment) == task.job
    assert task.retake(0) == task.job
    task.close()


def test_a_take_lies_under_the_planned_address(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.turn()
    plan = bench.rows.read(films.get, film).plan
    (take,) = bench.rows.read(takes.of_film, film)
    assert take.address == plan.segments[0].address
    video = bench.farm.store.head(take.video_key)
    assert video is not None
    assert video.sha256 == take.sha256
    assert take.video_key == keys.take_file(take.address, TakeFile.VIDEO, take.sha256)
    assert bench.farm.store.head(take.tail_key) is not None


def test_a_take_that_was_forgotten_in_this_moment_has_its_segment_given_back(
    bench: Bench, tmp_path: Path
) -> None:
    lease, film = second_of_a_chain(bench)
    bench.rows.write(takes.forget, film.plan.segments[0].address)
    with pytest.raises(ObjectMissingError, match="rendered again"):
        fetch_inputs(bench.farm, film, lease.position, tmp_path)
