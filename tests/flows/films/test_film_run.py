"""A film's steps: what is followed, gathered, stitched and delivered, and what ends them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.films import films, listing, user_actions
from db.films.films import Film
from db.segments import takes
from db.tables import takes as take_rows
from film.errors import (
    Cancelled,
    DatabaseError,
    LongreelError,
    MediaError,
    RenderError,
    StoreFullError,
    StoreUnreachableError,
)
from film.types import FilmStatus, to_json
from flows.farm import Farm
from flows.films import film_run
from flows.films.film_run import FilmRun, Interrupted, Stitched, explain_end, take_up, why_cancelled
from flows.films.host import Host, current_host, host_flows
from flows.films.soundtrack import Fetched
from media.encode import encode_segment
from media.match_headers import SegmentFile
from media.probe import probe
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film
from tests.fakes import FlakyDatabase, FlakyStore, RecordingReporter


class Stage:
    """A film whose lease this process holds."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.rows = Rows(farm.database)
        self.database, self.store = FlakyDatabase(farm.database), FlakyStore(farm.store)
        farm.__dict__.update(database=self.database, store=self.store)
        self.reporter = RecordingReporter()
        self.stopping = False
        self.host = Host(farm, lambda: self.stopping, self.reporter)
        (self.film_id,) = self.rows.submit(a_film(segments_each=2))
        self.film: Film = self.rows.claim_film(farm.owner)

    def store_takes(self) -> list[str]:
        """Has all segments rendered, with files in the store; returns the videos' keys."""
        self.rows.render_all()
        found = self.rows.read(takes.of_film, self.film_id)
        file = self.farm.settings.home / "segment.mp4"
        for number, take in enumerate(found):
            file.write_text(f"segment {number}")
            self.store.put_file(take.video_key, file)
        self._record_digests()
        return [take.video_key for take in found]

    def _record_digests(self) -> None:
        """Has the database know what the store holds."""
        with self.farm.database.write() as connection:
            for take in takes.of_film(connection, self.film_id):
                assert take
                info = self.store.head(take.video_key)
                assert info
                known = to_json(take.replace(sha256=info.sha256 or ""))
                this = take_rows.c.address == take.address
                connection.execute(take_rows.update().where(this).values(take=known))

    @property
    def status(self) -> FilmStatus:
        """The film's."""
        return self.rows.status(self.film_id)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are so short that tests take milliseconds."""
    monkeypatch.setattr(film_run, "FOLLOW_SECONDS", (0.001, 0.001))


@pytest.fixture
def stage(small_farm: Farm) -> Stage:
    """The film of this test."""
    return Stage(small_farm)


@pytest.fixture
def run(stage: Stage) -> Any:
    """The run of that film."""
    with stage.host.holding(stage.film):
        yield take_up(stage.film_id, 1, "run-1", stage.host)


def test_the_flow_run_is_attached_and_watched(stage: Stage, run: FilmRun) -> None:
    assert run.film.id == stage.film_id
    assert stage.rows.read(films.get, stage.film_id).flow_run_id == "run-1"
    assert stage.reporter.watched == {(stage.film_id, 1): "run-1"}


@pytest.mark.parametrize("lost", ["not held", "another attempt", "another owner"])
def test_a_film_that_is_not_held_here_is_not_taken_up(stage: Stage, lost: str) -> None:
    attempt = 2 if lost == "another attempt" else 1
    if lost == "another owner":
        stage.farm.owner = "another"
    holding = nullcontext() if lost == "not held" else stage.host.holding(stage.film)
    with holding, pytest.raises(Cancelled):
        take_up(stage.film_id, attempt, "run-1", stage.host)
    assert stage.reporter.watched == {}


def test_the_host_of_this_process_is_what_was_set_last(stage: Stage) -> None:
    host_flows(stage.host)
    assert current_host() is stage.host
    with pytest.raises(Cancelled):
        take_up(stage.film_id, 1, "run-1")


def test_planning_counts_what_is_rendered(stage: Stage, run: FilmRun) -> None:
    assert run.plan() == "2 segments, 0 rendered so far"
    assert stage.status is FilmStatus.RENDERING
    stage.rows.finish(stage.rows.claim())
    assert run.plan() == "2 segments, 1 rendered so far"


def test_following_ends_with_the_last_segment(stage: Stage, run: FilmRun) -> None:
    stage.rows.render_all()
    run.follow()


def test_following_survives_a_database_that_is_away(stage: Stage, run: FilmRun) -> None:
    stage.rows.render_all()
    stage.database.failing = 3
    run.follow()


def test_a_failed_segment_fails_the_film_with_its_reason(stage: Stage, run: FilmRun) -> None:
    for _ in range(3):
        stage.rows.give_up(stage.rows.claim())
    with pytest.raises(RenderError, match="Segment 1 failed 3 times, the last time with: no"):
        run.follow()


def test_a_permanent_failure_is_named_once(stage: Stage, run: FilmRun) -> None:
    stage.rows.give_up(stage.rows.claim(), permanent=True)
    with pytest.raises(RenderError, match="Segment 1 failed: no"):
        run.follow()


@pytest.mark.parametrize("step", ["follow", "gather", "stitch", "deliver"])
@pytest.mark.parametrize("ended", ["stopping", "lost"])
def test_no_step_continues_after_a_stop_or_a_lost_lease(
    stage: Stage, run: FilmRun, step: str, ended: str
) -> None:
    if ended == "stopping":
        stage.stopping = True
    else:
        run.keeper.lost.set()
    argument: list[Any] = [[]] if step == "stitch" else [None] if step == "deliver" else []
    with pytest.raises(Interrupted if ended == "stopping" else Cancelled):
        getattr(run, step)(*argument)


def test_a_cancelled_film_is_not_followed(stage: Stage, run: FilmRun) -> None:
    stage.rows.write(user_actions.cancel, stage.film_id)
    with pytest.raises(Cancelled):
        run.follow()
    with pytest.raises(Cancelled):
        run.plan()


def test_the_segments_are_fetched_in_the_films_order(stage: Stage, run: FilmRun) -> None:
    stage.store_takes()
    fetched = run.gather()
    assert fetched is not None
    assert [files.video.read_text() for files in fetched] == ["segment 0", "segment 1"]
    assert stage.status is FilmStatus.STITCHING
    run.remove_files()
    assert not run.folder.exists()


def test_a_segment_that_is_missing_is_rendered_again(stage: Stage, run: FilmRun) -> None:
    keys = stage.store_takes()
    stage.store.delete(keys[1])
    assert run.gather() is None
    assert stage.status is FilmStatus.RENDERING
    assert stage.rows.statuses(stage.film_id) == ["done", "ready"]


def test_a_segment_that_is_damaged_is_rendered_again(stage: Stage, run: FilmRun) -> None:
    keys = stage.store_takes()
    (stage.farm.settings.home / "store" / keys[0]).write_text("something else")
    assert run.gather() is None
    assert stage.rows.statuses(stage.film_id)[0] == "ready"


def test_another_object_under_the_key_is_not_taken(stage: Stage, run: FilmRun) -> None:
    """It is whole, and has a checksum of its own."""
    keys = stage.store_takes()
    other = stage.farm.settings.home / "other.mp4"
    other.write_text("another segment")
    stage.store.put_file(keys[1], other)
    assert run.gather() is None
    assert stage.rows.statuses(stage.film_id) == ["done", "ready"]


def test_a_take_that_another_flow_forgot_in_this_moment_is_rendered_again(
    stage: Stage, run: FilmRun
) -> None:
    stage.store_takes()
    stage.rows.write(takes.forget, run.film.plan.segments[1].address)
    assert run.gather() is None
    assert stage.status is FilmStatus.RENDERING


def test_a_take_that_was_rendered_again_meanwhile_is_not_forgotten(
    stage: Stage, run: FilmRun
) -> None:
    stage.store_takes()
    address = run.film.plan.segments[0].address
    stage.rows.write(takes.forget, address, "takes/an/earlier/video.mp4")
    assert stage.rows.statuses(stage.film_id) == ["done", "done"]
    assert stage.rows.read(takes.find, address) is not None


@pytest.mark.parametrize("error", [StoreUnreachableError("Away."), StoreFullError("Full.")])
def test_a_store_that_is_away_or_full_has_nothing_forgotten(
    stage: Stage, run: FilmRun, error: LongreelError
) -> None:
    stage.store_takes()
    stage.store.error = error
    with pytest.raises(type(error)):
        run.gather()
    assert stage.rows.statuses(stage.film_id) == ["done", "done"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> list[SegmentFile]:
    """Two segments with 17 and 12 frames."""
    folder = tmp_path_factory.mktemp("segments")
    segments = []
    for name, count in (("0.mp4", 17), ("1.mp4", 12)):
        frames = np.zeros((count, 64, 96, 3), np.uint8)
        for number, frame in enumerate(frames):
            frame[:, 3 * number : 3 * number + 8] = 255
        contents = encode_segment(frames, folder / name, fps=Fraction(8))
        segments.append(SegmentFile(folder / name, contents))
    return segments


def fetched(run: FilmRun, pieces: list[SegmentFile]) -> list[Fetched]:
    """Segments in the folder of a run."""
    run.folder.mkdir(parents=True, exist_ok=True)
    return [
        Fetched(video=Path(shutil.copy(piece.path, run.folder)), contents=piece.contents)
        for piece in pieces
    ]


@pytest.mark.parametrize("earlier", [False, True], ids=["this version", "an earlier one"])
def test_segments_are_stitched_and_their_files_removed(
    run: FilmRun, pieces: list[SegmentFile], earlier: bool
) -> None:
    given = fetched(run, pieces)
    film = run.stitch([files.replace(contents=None) for files in given] if earlier else given)
    assert probe(film.path).num_frames == 29
    assert [seam.frame for seam in film.seams] == [17]
    assert film.sound is None
    assert list(run.folder.iterdir()) == [film.path]


def test_a_film_that_is_not_as_planned_is_not_stitched(
    run: FilmRun, pieces: list[SegmentFile]
) -> None:
    with pytest.raises(MediaError):
        run.stitch(fetched(run, [pieces[1], pieces[0]]))


def test_the_files_of_a_film_are_removed(run: FilmRun) -> None:
    stitched(run.folder)
    run.remove_files()
    run.remove_files()
    assert not run.folder.exists()


def stitched(folder: Path) -> Stitched:
    """A film's file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "film.mp4").write_text("a film")
    return Stitched(folder / "film.mp4", (), None)


def test_a_film_is_delivered_with_what_its_plan_says(stage: Stage, run: FilmRun) -> None:
    delivery = run.deliver(stitched(run.folder))
    assert stage.status is FilmStatus.DELIVERED
    assert (delivery.num_frames, delivery.width, delivery.height) == (29, 96, 64)
    assert delivery.size_bytes == len("a film")
    info = stage.farm.store.head(delivery.key)
    assert info is not None
    assert info.sha256 == delivery.sha256


def test_a_film_whose_lease_was_lost_is_not_delivered(stage: Stage, run: FilmRun) -> None:
    stage.rows.run_out_film(run.film)
    stage.rows.claim_film("another")
    with pytest.raises(Cancelled):
        run.deliver(stitched(run.folder))
    assert stage.status is FilmStatus.QUEUED


def test_a_film_that_is_released_is_claimed_again(stage: Stage, run: FilmRun) -> None:
    run.release()
    assert stage.rows.claim_film("another").attempt == 2


def test_a_release_that_the_database_misses_is_logged(
    stage: Stage, run: FilmRun, caplog: pytest.LogCaptureFixture
) -> None:
    stage.database.away = True
    run.release()
    stage.database.away = False
    assert caplog.records[-1].__dict__["film"] == stage.film_id


@pytest.mark.parametrize(
    ("error", "message"),
    [(RenderError("Segment 1 failed."), "Segment 1 failed."), (KeyError("x"), "KeyError('x')")],
)
def test_a_failure_is_recorded(stage: Stage, run: FilmRun, error: Exception, message: str) -> None:
    run.fail(error)
    assert stage.status is FilmStatus.FAILED
    assert stage.rows.kinds(stage.film_id).count("failed") == 1
    assert stage.rows.read(listing.films_of, stage.film_id)[0].error == message


END = {
    "cancelled": ({"status": FilmStatus.CANCELLED}, "The film was cancelled"),
    "paused": ({"status": FilmStatus.PAUSED}, "The campaign was paused"),
    "another attempt": ({"attempt": 3}, "attempt 3"),
    "given back": ({}, "The film was given back"),
}


@pytest.mark.parametrize("case", END)
def test_why_a_flow_does_not_continue(stage: Stage, case: str) -> None:
    changes, reason = END[case]
    assert reason in explain_end(stage.film.replace(**changes), 1)


def test_without_the_database_the_reason_is_general(stage: Stage) -> None:
    stage.database.away = True
    assert "or continues" in why_cancelled(stage.film_id, 1, stage.host)
    stage.database.away = False
    assert "given back" in why_cancelled(stage.film_id, 1, stage.host)


class FakeRun:
    """A film run whose steps are scripted."""

    def __init__(self, **steps: Any) -> None:
        self.calls: list[str] = []
        self._steps = steps

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            self.calls.append(name)
            result = self._steps.get(name)
            if isinstance(result, list):
                result = result.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

        return step


DELIVERED = {"gather": ["x"], "deliver": type("Delivery", (), {"key": "films/x.mp4"})()}


def render(run: FakeRun) -> str:
    """The main path, without Prefect's tasks."""
    from flows.films.render_film import render

    return render(run, lambda name, step: step())  # type: ignore[arg-type]


def test_the_main_path_in_its_order() -> None:
    run = FakeRun(**{**DELIVERED, "gather": [["segment"]]})
    assert render(run) == "films/x.mp4"
    assert run.calls == ["plan", "follow", "gather", "stitch", "deliver", "remove_files"]


def test_missing_segments_are_followed_again() -> None:
    run = FakeRun(**{**DELIVERED, "gather": [None, None, ["segment"]]})
    render(run)
    assert run.calls.count("follow") == 3


@pytest.mark.parametrize("step", ["plan", "follow", "gather", "stitch", "deliver"])
@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (Cancelled(), None),
        (Interrupted(), "release"),
        (DatabaseError("Away."), "release"),
        (StoreUnreachableError("Away."), "release"),
        (RenderError("Segment 1 failed."), "fail"),
        (StoreFullError("Full."), "release"),
        (ValueError("foreign"), "fail"),
    ],
)
def test_how_each_error_ends_a_film(step: str, error: Exception, ending: str | None) -> None:
    run = FakeRun(**{**DELIVERED, "gather": [["segment"]], step: error})
    with pytest.raises(type(error)):
        render(run)
    assert [call for call in run.calls if call in ("release", "fail")] == (
        [ending] if ending else []
    )
    assert run.calls[-1] == "remove_files"
