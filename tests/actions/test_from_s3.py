"""Films in S3, reached by a service: links, and half a file that is continued."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.actions.remote import RemoteActions
from app.actions.server import Server
from film.settings import Settings
from flows.farm import Farm
from tests.actions.test_contract import CONTENT, campaign, deliver
from tests.db.conftest import sqlite_template
from tests.db.farm import Farm as Rows
from tests.services.s3 import S3Server
from tests.services.service import serving

__all__ = ["sqlite_template"]
pytestmark = pytest.mark.slow


@pytest.fixture
def farm(
    tmp_path: Path,
    sqlite_template: Path,
    moto_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Farm]:
    """A farm whose store is a bucket."""
    moto_server.use(monkeypatch)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(sqlite_template, home / "longreel.db")
    settings = Settings(
        home=home,
        prefect_api_url=None,
        store_url=f"s3://{moto_server.create_bucket()}/farm",
        s3_endpoint_url=moto_server.endpoint_url,
    )
    found = Farm(settings)
    yield found
    found.close()


def test_a_film_in_s3_is_linked_and_fetched_and_half_of_it_continued(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(farm) as address:
        server = Server(address)
        actions = RemoteActions(server)
        name = actions.submit(campaign()).campaign_id
        deliver(Rows(farm.database), farm)
        (film,) = actions.deliverables(f"{name}-1")
        url = actions.link(film, 60)
        answer = httpx.get(url)
        assert answer.content == CONTENT
        assert film.file_name in answer.headers["content-disposition"]
        assert actions.address_of(film) is not None
        assert server.content(f"/api/v1/films/{film.id}/content") == CONTENT
        assert film.sha256 is not None
        (tmp_path / f".{film.sha256[:24]}.part").write_bytes(CONTENT[:1000])
        received: list[str] = []
        server.elsewhere.event_hooks["response"].append(
            lambda answer: received.append(answer.headers["content-range"])
        )
        actions.fetch(film, tmp_path / "ball.mp4")
        assert received == [f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"]
        assert (tmp_path / "ball.mp4").read_bytes() == CONTENT
        actions.close()
