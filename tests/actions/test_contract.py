"""What actions promise, on the database and over HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from app.actions.local import LocalActions
from app.actions.protocol import Actions
from app.actions.values import CampaignDetails, FilmDetails, Steering
from db.films import film_lease
from db.workers import registry
from db.workers.registry import Registration, WorkerCommand
from film.errors import InputError, NotFoundError, RefusedFilmsError, StoreError
from film.reading.campaign import read_campaign
from film.types import Campaign, FilmStatus
from flows.farm import Farm
from flows.submission.image_uploads import located
from storage import keys
from tests.db.farm import DELIVERY
from tests.db.farm import Farm as Rows

TWO = "name: autumn\npriority: 2\ndefaults: {seconds: 2}\nfilms: [A red ball., A blue square.]\n"
CONTENT = b"a film" * 1000


def campaign(text: str = TWO, folder: Path | None = None) -> Campaign:
    found = read_campaign(text, "c.yaml", "unnamed")
    return found.replace(films=located(found.films, folder)) if folder else found


@pytest.fixture
def two(actions: Actions) -> str:
    """A campaign of two films; its id."""
    return actions.submit(campaign()).campaign_id


def deliver(rows: Rows, farm: Farm, content: bytes = CONTENT) -> None:
    """Renders what there is, and delivers the next film with this file."""
    rows.render_all()
    film = rows.claim_film()
    path = farm.scratch.open() / "film.mp4"
    path.write_bytes(content)
    info = farm.store.put_file(keys.film_video(hashlib.sha256(content).hexdigest()), path)
    delivery = DELIVERY.replace(key=info.key, sha256=info.sha256, size_bytes=len(content))
    assert rows.write(film_lease.finish, film, delivery)


def test_what_is_submitted_is_found(actions: Actions, small_farm: Farm) -> None:
    submitted = actions.submit(campaign())
    assert [film.title for film in submitted.films] == ["A red ball", "A blue square"]
    name = submitted.campaign_id
    assert actions.films_of(name) == list(submitted.films)
    assert actions.films_of(f"{name}-2") == [submitted.films[1]]
    assert actions.find_films(text="BLUE", statuses=[FilmStatus.WAITING]) == [submitted.films[1]]
    assert actions.find_films(limit=1) == [submitted.films[0]]
    (summary,) = actions.campaigns()
    assert (summary.campaign.name, summary.campaign.priority) == ("autumn", 2)
    assert summary.films.total == 2
    assert actions.campaign_of(f"{name}-1") == summary == actions.campaign_of(name)
    assert actions.count_open(name) == 2
    assert actions.count_open(f"{name}-1") == 1
    # Both ways show the same.
    assert actions.show(name) == LocalActions(small_farm).show(name)


def test_films_are_found_by_the_time_of_their_submission(actions: Actions, two: str) -> None:
    at = actions.films_of(two)[0].created_at
    assert len(actions.find_films(since=at - 5, until=at + 5)) == 2
    assert actions.find_films(since=at + 5) == []
    assert actions.find_films(until=at - 5, limit=3) == []
    assert len(actions.campaigns(since=at - 5)) == 1
    assert actions.campaigns(until=at - 5) == []


def test_lists_of_more_than_a_page_are_whole(actions: Actions) -> None:
    films = "\n".join(["prompt,seconds", *(f"A ball {n}.,1" for n in range(205))])
    name = actions.submit(read_campaign(films, "c.csv", "many")).campaign_id
    assert len(actions.films_of(name)) == 205
    assert len(actions.find_films(limit=202)) == 202
    shown = actions.show(name, 203)
    assert isinstance(shown, CampaignDetails)
    assert len(shown.films) == 203


def test_a_film_is_shown_with_its_parts(actions: Actions, two: str) -> None:
    film = actions.show(f"{two}-1")
    assert isinstance(film, FilmDetails)
    assert (film.row.title, film.request.prompt) == ("A red ball", "A red ball.")
    assert len(film.plan.segments) == len(film.parts) == 1
    assert film.delivery is None
    assert film.blocked == ("No worker is running; start `longreel worker`.",)


def test_a_plan_writes_nothing(actions: Actions, rows: Rows) -> None:
    plans = actions.plan(campaign()).plans
    assert [plan["title"] for plan in plans] == ["A red ball", "A blue square"]
    assert plans[0]["rendered_before"] == 0
    assert actions.campaigns() == []
    actions.submit(campaign())
    rows.render_all()
    assert [plan["rendered_before"] for plan in actions.plan(campaign()).plans] == [1, 1]


@pytest.mark.parametrize("name", ["none", "none-1", "a/b", "../x", "", ".", "a b?c=1#d", "ü-1"])
def test_what_does_not_exist_is_named(actions: Actions, name: str) -> None:
    message = f"There is no film or campaign {name!r}; `longreel ls` lists what there is."
    for act in (
        actions.films_of,
        actions.show,
        actions.campaign_of,
        actions.history,
        actions.deliverables,
    ):
        with pytest.raises(NotFoundError) as missing:
            act(name)
        assert str(missing.value) == message, act


def test_every_refused_film_is_named_and_nothing_is_written(actions: Actions) -> None:
    films = "prompt,seconds\na ball,4\na cube,99999\na ball,3\na cone,88888\n"
    with pytest.raises(RefusedFilmsError) as refused:
        actions.submit(read_campaign(films, "c.csv", "x"))
    assert [each.item for each in refused.value.refusals] == [2, 4]
    assert "99999 s long" in refused.value.refusals[0].detail
    assert str(refused.value).splitlines()[1].startswith("Film 4 of 'x': ")
    assert actions.campaigns() == []


def test_a_campaign_is_steered(actions: Actions, two: str) -> None:
    assert actions.steer(two, Steering(paused=True)).changed
    again = actions.steer(two, Steering(paused=True))
    assert (again.changed, again.campaign.paused_at is not None) == (False, True)
    found = actions.steer(two, Steering(paused=False, priority=-3, deadline=9e8, max_workers=4))
    row = found.campaign
    assert (row.paused_at, row.priority, row.deadline, row.max_workers) == (None, -3, 9e8, 4)
    row = actions.steer(two, Steering(deadline=None)).campaign
    assert (row.priority, row.deadline, row.max_workers) == (-3, None, 4)
    assert actions.steer(two, Steering(max_workers=None)).campaign.max_workers is None


def test_films_are_cancelled_queued_again_and_removed(actions: Actions, two: str) -> None:
    assert actions.cancel(f"{two}-1") == [f"{two}-1"]
    assert actions.cancel(two) == [f"{two}-2"]
    assert actions.requeue(two, failed_only=True) == []
    assert sorted(actions.requeue(two)) == [f"{two}-1", f"{two}-2"]
    with pytest.raises(InputError, match=r"2 films of .* are not finished"):
        actions.remove(two)
    actions.cancel(two)
    assert actions.remove(f"{two}-1").film_ids == (f"{two}-1",)
    assert len(actions.remove(two).film_ids) == 1
    assert actions.campaigns() == []


def test_what_happened_is_read_from_an_event_on(actions: Actions, two: str) -> None:
    history = actions.history(two)
    assert history.open
    assert [event.kind for event in history.events] == ["queued", "queued"]
    assert history.events[0].film_id == f"{two}-1"
    actions.cancel(two)
    later = actions.history(two, history.events[-1].id)
    assert (later.open, [event.kind for event in later.events]) == (False, ["cancelled"] * 2)
    assert len(actions.history(f"{two}-1").events) == 2


def test_scenes_are_rendered_again(actions: Actions, two: str) -> None:
    again = actions.retake(f"{two}-1", {1: 99})
    assert again.campaign_id != two
    (film,) = again.films
    assert film.campaign_name == f"Retake of {two}-1"
    with pytest.raises(InputError, match="no scene 2"):
        actions.retake(f"{two}-1", {2: 9})
    with pytest.raises(InputError, match="is a campaign"):
        actions.retake(two, {1: 9})
    with pytest.raises(NotFoundError):
        actions.retake("none-1", {1: 9})


def test_a_delivered_film_is_fetched(
    actions: Actions, two: str, rows: Rows, small_farm: Farm, tmp_path: Path
) -> None:
    deliver(rows, small_farm)
    shown = actions.show(f"{two}-1")
    assert isinstance(shown, FilmDetails)
    assert shown == LocalActions(small_farm).show(f"{two}-1")
    assert shown.made_by.keys() == {0}
    first, second = actions.deliverables(two)
    assert first.file_name == f"{two}-1-a-red-ball-seed7-96x64.mp4"
    assert (first.size_bytes, second.sha256) == (len(CONTENT), None)
    named = actions.deliverables(two, "{campaign}/{number:03}-{title}")
    assert named[1].file_name == f"{two}/002-a-blue-square.mp4"
    target = tmp_path / "ball.mp4"
    actions.fetch(first, target)
    assert target.read_bytes() == CONTENT
    with pytest.raises(NotFoundError, match="it has no file"):
        actions.fetch(second, tmp_path / "none.mp4")
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["ball.mp4"]


def test_a_film_that_is_missing_from_the_store_is_named_and_made_again(
    actions: Actions, two: str, rows: Rows, small_farm: Farm, tmp_path: Path
) -> None:
    deliver(rows, small_farm)
    film = actions.deliverables(f"{two}-1")[0]
    assert actions.requeue(two) == []
    small_farm.store.delete(keys.film_video(hashlib.sha256(CONTENT).hexdigest()))
    with pytest.raises(StoreError):
        actions.fetch(film, tmp_path / "ball.mp4")
    assert not (tmp_path / "ball.mp4").exists()
    assert actions.requeue(two, failed_only=True) == []
    assert actions.requeue(two) == [f"{two}-1"]


def test_the_store_is_measured_and_cleaned(
    actions: Actions, two: str, rows: Rows, small_farm: Farm
) -> None:
    deliver(rows, small_farm)
    usage = actions.usage()
    assert (usage.campaigns[0].campaign, usage.campaigns[0].films_bytes) == (two, len(CONTENT))
    assert usage.takes_bytes > 0
    assert actions.clean(dry_run=True, finished=True) == actions.clean(dry_run=True)
    assert actions.clean().films == 0


def test_workers_are_listed_and_commanded(actions: Actions, rows: Rows) -> None:
    assert actions.workers() == []
    worker = Registration(
        name="gpu 1/ü",
        owner="o",
        host="h",
        device="cpu",
        models=("demo",),
        tags=(),
        quiet=None,
        lease_seconds=60.0,
    )
    rows.write(registry.register, worker)
    assert [row.name for row in actions.workers()] == ["gpu 1/ü"]
    assert actions.order("gpu 1/ü", "drain").command is WorkerCommand.DRAIN
    assert actions.order("gpu 1/ü", "stop").command is WorkerCommand.STOP
    assert actions.order("gpu 1/ü", "resume").command is None
    with pytest.raises(NotFoundError, match="none"):
        actions.order("none", "drain")


def test_models_are_listed(actions: Actions) -> None:
    demo = next(model for model in actions.models() if model["name"] == "demo")
    assert demo["here"]
    assert demo["renders_from"] == ["text", "window", "first_last"]


def test_pictures_come_with_a_campaign(actions: Actions, small_farm: Farm, tmp_path: Path) -> None:
    for name, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (96, 64), colour).save(tmp_path / name / "é 1.png")
    text = (
        "defaults: {seconds: 2, continuity: cut}\nfilms:\n"
        "  - {prompt: A ball., image: a/é 1.png, last_image: b/é 1.png}\n"
        "  - {scenes: [{prompt: A cube., image: a/é 1.png}]}\n"
    )
    found = actions.submit(campaign(text, tmp_path))
    stored = {info.key for info in small_farm.store.list(keys.IMAGES)}
    assert len(stored) == 2
    film = actions.show(found.films[0].id)
    assert isinstance(film, FilmDetails)
    assert film.request.image != film.request.last_image
    assert {keys.image(film.request.image), keys.image(film.request.last_image)} == stored


def test_a_picture_that_is_none_is_named_as_the_user_named_it(
    actions: Actions, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("no picture")
    text = "films: [{prompt: A ball., image: a.png}]"
    with pytest.raises(InputError, match=r"a\.png") as refused:
        actions.submit(campaign(text, tmp_path))
    assert "upload-" not in str(refused.value)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png"):
        actions.submit(campaign(text, tmp_path))
    assert actions.campaigns() == []
