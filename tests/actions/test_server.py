"""Requests to a service: what is remembered, and values from other versions."""

from __future__ import annotations

from typing import Any

import pytest

from app.actions.decoding import decode
from app.actions.remote import RemoteActions
from app.actions.server import Server
from app.actions.values import FilmDetails
from db.films.listing import FilmRow
from film.errors import ServerError
from film.types import to_json
from tests.actions.test_contract import campaign
from tests.app.test_film_progress import WAITING


def test_what_did_not_change_is_not_sent_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = RemoteActions(server)
    name = actions.submit(campaign()).campaign_id
    statuses: list[int] = []
    send = server.send

    def noting(*words: Any, **more: Any) -> Any:
        answer = send(*words, **more)
        statuses.append(answer.status_code)
        return answer

    monkeypatch.setattr(server, "send", noting)
    first = actions.films_of(name)
    assert actions.films_of(name) == first
    actions.cancel(name)
    assert actions.films_of(name) != first
    assert statuses[1:] == [304, 200, 200]


def test_fields_that_this_version_does_not_know_are_left_out() -> None:
    data = to_json(WAITING)
    assert decode(FilmRow, {**data, "colour": {"new": 1}}) == WAITING


@pytest.mark.parametrize(
    "changes", [{"status": "dreaming"}, {"segments": "4"}, {"title": None}, {"progress": []}]
)
def test_values_that_this_version_does_not_know_are_the_versions_fault(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ServerError, match="use the same version on both sides"):
        decode(FilmRow, {**to_json(WAITING), **changes})


@pytest.mark.parametrize("data", [None, [], "x", {}, {"row": []}, {"row": None}])
def test_what_is_no_film_is_the_versions_fault(data: Any) -> None:
    with pytest.raises(ServerError, match="use the same version on both sides"):
        decode(FilmDetails, data)
