"""`import longreel`: a farm from scripts and notebooks."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import longreel
from db import api_keys
from db.api_keys import Scope
from db.films import film_lease, user_actions
from film.settings import settings
from flows.farm import Farm, open_farm
from longreel.client import POLL_SECONDS
from storage import keys
from tests.conftest import Installation
from tests.db.farm import DELIVERY
from tests.db.farm import Farm as Rows


@pytest.fixture
def farm(installation: Installation) -> Iterator[longreel.Client]:
    """The farm of this machine."""
    with longreel.connect() as client:
        yield client


@pytest.fixture
def here(farm: longreel.Client) -> Iterator[Farm]:
    """Its parts."""
    found = open_farm()
    yield found
    found.close()


def deliver(here: Farm, content: bytes) -> None:
    """Renders what there is, and delivers the next film with this file."""
    rows = Rows(here.database)
    rows.render_all()
    film = rows.claim_film()
    path = here.scratch.open() / "film.mp4"
    path.write_bytes(content)
    info = here.store.put_file(keys.film_video("ab" * 32), path)
    delivery = DELIVERY.replace(key=info.key, sha256=info.sha256 or "", size_bytes=len(content))
    assert rows.write(film_lease.finish, film, delivery)


PUBLIC = [
    *("AsyncClient", "Campaign", "Client", "Error", "Film", "Films", "Worker"),
    *("connect", "connect_async"),
]
LIGHT = """
import sys, longreel
heavy = {"torch", "diffusers", "prefect", "sqlalchemy", "boto3", "av", "fastapi", "uvicorn"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_its_names_are_these_and_importing_them_is_light() -> None:
    assert sorted(longreel.__all__) == sorted(PUBLIC)
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_async_client_has_every_method_of_the_other() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}

    assert methods(longreel.AsyncClient) == methods(longreel.Client)


def test_a_film_is_submitted_watched_and_downloaded(
    farm: longreel.Client, here: Farm, tmp_path: Path
) -> None:
    film = farm.submit("A red ball.", seconds=2, seed=7)
    assert (film.title, film.status, film.seconds, film.segments) == ("A red ball", "waiting", 2, 1)
    assert film.waiting == "No worker is running; start `longreel worker`"
    assert "waiting" in film._repr_html_()
    assert [event["kind"] for event in farm.events(film)] == ["queued"]
    with pytest.raises(TimeoutError):
        farm.wait(film, timeout=0.1)
    with pytest.raises(longreel.Error) as early:
        farm.download(film, tmp_path)
    assert early.value.status == 404
    deliver(here, b"a film")
    done = farm.wait(film.id, progress=True)
    assert (done.status, done.progress, done.finished) == ("delivered", 1.0, True)
    assert farm.download(done, tmp_path) == tmp_path / f"{film.id}.mp4"
    assert farm.download(done, tmp_path / "mine.mp4").read_bytes() == b"a film"
    assert [path.name for path in tmp_path.glob("*.mp4")].count("mine.mp4") == 1
    assert "data:video/mp4;base64,YSBmaWxt" in done._repr_html_()
    farm.remove(done)
    assert farm.films() == []


def test_a_file_that_arrives_damaged_is_not_kept(
    farm: longreel.Client, here: Farm, tmp_path: Path
) -> None:
    film = farm.submit("A red ball.", seconds=2)
    deliver(here, b"a film")
    (here.settings.home / "store" / keys.film_video("ab" * 32)).write_bytes(b"another")
    with pytest.raises(longreel.Error, match="arrived damaged"):
        farm.download(film, tmp_path / "film.mp4")
    assert list(tmp_path.glob("*film*")) == []


def test_films_are_found_and_become_rows_of_a_table(farm: longreel.Client, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("defaults: {seconds: 2}\nfilms: [A red ball., A blue cube.]\n")
    campaign = farm.submit_campaign(path)
    assert (campaign.name, campaign.film_counts) == ("two", {"queued": 2})
    assert farm.campaign(campaign) == campaign
    films = farm.films(campaign=campaign.id)
    assert [record["title"] for record in films.records()] == ["A red ball", "A blue cube"]
    assert "fetch" not in films.records()[0]
    assert [film.title for film in farm.films(text="cube", status=["waiting"])] == ["A blue cube"]
    assert len(farm.films(limit=1)) == 1
    assert farm.workers() == []
    with pytest.raises(longreel.Error, match=r"must end in \.yaml"):
        farm.submit_campaign(tmp_path / "two.txt")


def test_a_folder_is_kept_like_a_campaign(
    farm: longreel.Client, here: Farm, tmp_path: Path
) -> None:
    film = farm.submit("A red ball.", seconds=2)
    folder = tmp_path / "films"
    assert farm.sync(film.campaign, folder) == []
    content = b"a film"
    deliver(here, content)
    (path,) = farm.sync(film.campaign, folder, names="{number:03}-{title}", follow=True)
    assert (path, path.read_bytes()) == (folder / "001-a-red-ball.mp4", content)
    assert farm.sync(film, folder, names="{number:03}-{title}") == [path]
    path.write_bytes(b"mine")
    with pytest.raises(longreel.Error, match="is another file than the film; it stays"):
        farm.sync(film, folder, names="{number:03}-{title}")
    with pytest.raises(longreel.Error, match="no field"):
        farm.sync(film, folder, names="{speed}")


def test_pictures_of_this_machine_come_along(
    farm: longreel.Client, here: Farm, tmp_path: Path
) -> None:
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (96, 64), colour).save(tmp_path / name)

    def stored() -> int:
        return len(list(here.store.list(keys.IMAGES)))

    farm.submit("A ball.", seconds=2, image=tmp_path / "a.png", continuity="cut")
    assert stored() == 1
    path = tmp_path / "two.yaml"
    path.write_text("films: [{prompt: A ball., seconds: 2, image: b.png, continuity: cut}]\n")
    farm.submit_campaign(path)
    assert stored() == 2
    path.write_text("films: [{prompt: A ball., image: c.png}]\n")
    with pytest.raises(longreel.Error, match=r"There is no file .*c\.png"):
        farm.submit_campaign(path)
    with pytest.raises(longreel.Error, match=r"There is no file /no/such/file\.png"):
        farm.submit("A ball.", image="/no/such/file.png")


def test_every_refused_film_of_a_campaign_is_named(farm: longreel.Client, tmp_path: Path) -> None:
    path = tmp_path / "three.csv"
    path.write_text("prompt,seconds\na,2\nb,99999\nc,88888\n")
    with pytest.raises(longreel.Error, match="99999 s long") as refused:
        farm.submit_campaign(path)
    assert [each.item for each in refused.value.refused] == [2, 3]
    assert refused.value.status == 422
    assert farm.films() == []


def test_films_are_steered(farm: longreel.Client, here: Farm) -> None:
    film = farm.submit("A red ball. A blue cube.", seconds=4, seed=1)
    assert farm.cancel(film).status == "cancelled"
    with pytest.raises(longreel.Error, match="was not delivered: cancelled"):
        farm.wait(film)
    assert farm.requeue(film).status == "waiting"
    again = farm.retake(film, {2: 99})
    assert again.id != film.id
    plan = farm.plan("A red ball.", seconds=2)
    assert (plan["frames"], plan["segments"][0]["keep_frames"]) == (16, 16)
    rows = Rows(here.database)
    assert rows.write(user_actions.cancel, again.id) == [again.id]


def test_what_is_wrong_is_one_error_that_names_the_field(farm: longreel.Client) -> None:
    with pytest.raises(longreel.Error, match="seed: expected") as wrong:
        farm.submit("A ball.", seed=-1)
    assert (wrong.value.status, wrong.value.field) == (422, "seed")
    assert wrong.value.request_id
    with pytest.raises(longreel.Error, match="no film 'none-1'") as missing:
        farm.film("none-1")
    assert missing.value.status == 404


def test_a_server_is_asked_with_its_key(
    farm: longreel.Client, here: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.identity.NEEDED_SECONDS", 0.0)
    with here.database.write() as connection:
        key = api_keys.create(connection, "mine", [Scope.READ])
    with pytest.raises(longreel.Error, match="needs a key"):
        longreel.connect(farm.url)
    with longreel.connect(farm.url, key) as client:
        assert client.films() == []
        with pytest.raises(longreel.Error, match="lacks the scope"):
            client.submit("A ball.")
    monkeypatch.setenv("LONGREEL_SERVER", farm.url)
    monkeypatch.setenv("LONGREEL_KEY", key)
    settings.cache_clear()
    with longreel.connect() as client:
        assert client.url == farm.url
    with pytest.raises(longreel.Error, match="does not answer"):
        longreel.connect("http://127.0.0.1:9")


def test_everything_can_be_awaited(installation: Installation) -> None:
    async def use() -> list[Any]:
        async with await longreel.connect_async() as farm:
            film = await farm.submit("A red ball.", seconds=2)
            cancelled = await farm.cancel(film)
            return [film.status, cancelled.status, len(await farm.films())]

    assert asyncio.run(use()) == ["waiting", "cancelled", 1]


def test_pauses_grow_while_it_waits() -> None:
    assert POLL_SECONDS[0] < POLL_SECONDS[1]
