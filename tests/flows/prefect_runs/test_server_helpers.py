"""Finding Prefect's server: its note, its process, its answers, and the settings of its clients."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest

from film.errors import OrchestrationError
from film.settings import Settings
from flows.machine import process_identity
from flows.prefect_runs import prefect_server
from tests.services.web import Quiet, serving

NOTHING = "http://127.0.0.1:1/api"


class Health(Quiet, BaseHTTPRequestHandler):
    """Answers as the health page of Prefect's API does."""

    def do_GET(self) -> None:
        """200 for /api/health, 404 for anything else."""
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The API URL of a server that answers."""
    with serving(Health) as port:
        yield f"http://127.0.0.1:{port}/api"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with the embedded server."""
    (tmp_path / "prefect").mkdir()
    return Settings(home=tmp_path, prefect_api_url=None)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of this process, of which a test changes a copy."""
    copy = dict(os.environ)
    monkeypatch.setattr(os, "environ", copy)
    monkeypatch.setattr(prefect_server, "_used", None)
    return copy


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """The process of a server, as far as its note is concerned."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def note(settings: Settings, url: str, pid: int, started: object = None) -> None:
    """Notes a server whose process is `pid`, or was, if it `started` at another time."""
    state = {"pid": pid, "started": started or process_identity.start_time(pid), "url": url}
    prefect_server._note(settings.home / "prefect", state)


def test_a_server_that_answers_and_one_that_does_not(url: str) -> None:
    assert prefect_server.answers(url, patience=0.0)
    assert not prefect_server.answers(NOTHING, patience=0.0)
    assert not prefect_server.answers(url.removesuffix("/api"), patience=0.0)


def test_waiting_for_an_answer_ends_when_the_process_stops() -> None:
    assert not prefect_server.answers(NOTHING, patience=3600.0, stopping=lambda: True)


def test_the_server_of_the_user_is_used_without_starting_one(url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, prefect_api_url=f"{url}/")
    assert prefect_server.ensure(settings) == url
    assert not (tmp_path / "prefect").exists()


def test_the_embedded_server_is_found_by_its_note(
    settings: Settings, url: str, process: subprocess.Popen[bytes]
) -> None:
    note(settings, url, process.pid)
    assert prefect_server.ensure(settings) == url


def test_a_server_that_is_silent_is_not_waited_for_by_a_process_that_stops(
    settings: Settings, process: subprocess.Popen[bytes]
) -> None:
    note(settings, NOTHING, process.pid)
    with pytest.raises(OrchestrationError, match="Stopped while waiting"):
        prefect_server.ensure(settings, stopping=lambda: True)
    assert process.poll() is None


def test_a_server_that_stays_silent_is_stopped(
    settings: Settings, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_server, "START_SECONDS", 0.0)
    note(settings, NOTHING, process.pid)
    assert prefect_server._found(settings, lambda: False) is None
    assert not psutil.pid_exists(process.pid)
    assert prefect_server._state(settings) is None


def test_a_note_about_a_process_that_is_gone_is_no_server(settings: Settings) -> None:
    assert prefect_server._state(settings) is None
    note(settings, NOTHING, os.getpid(), started="another time")
    found = json.loads((settings.home / "prefect" / "server.json").read_text())
    assert (found["pid"], found["url"]) == (os.getpid(), NOTHING)
    assert prefect_server._found(settings, lambda: False) is None
    assert not prefect_server.stop(settings)


def test_a_damaged_note_is_no_server(settings: Settings) -> None:
    (settings.home / "prefect" / "server.json").write_text("{")
    assert prefect_server._found(settings, lambda: False) is None


def test_clients_of_the_embedded_server_have_its_settings_only(
    settings: Settings, environment: dict[str, str]
) -> None:
    environment["PREFECT_API_KEY"] = "mine"
    environment["prefect_profile"] = "work"
    prefect_server.use(NOTHING, settings)
    assert environment["PREFECT_API_URL"] == NOTHING
    assert environment["PREFECT_API_KEY"] == ""
    assert environment["PREFECT_HOME"] == str(settings.home / "prefect")
    assert "prefect_profile" not in environment
    assert prefect_server.is_away()


def test_clients_of_the_users_server_keep_the_users_settings(
    url: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    environment["PREFECT_API_KEY"] = "mine"
    prefect_server.use(url, Settings(home=tmp_path, prefect_api_url=url))
    assert (environment["PREFECT_API_URL"], environment["PREFECT_API_KEY"]) == (url, "mine")
    assert not prefect_server.is_away()


def test_a_server_that_was_not_used_is_not_away(environment: dict[str, str]) -> None:
    assert not prefect_server.is_away()


def test_no_prefect_setting_of_the_user_reaches_the_embedded_server(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = "postgresql://mine"
    environment["prefect_home"] = "/mine"
    environment["OTHER"] = "stays"
    left = prefect_server._foreign_settings_removed()
    assert not [name for name in left if name.upper().startswith("PREFECT_")]
    assert left["OTHER"] == "stays"
    own = prefect_server._own_settings(tmp_path)
    assert own["PREFECT_HOME"] == str(tmp_path)
    assert own["PREFECT_API_KEY"] == ""


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert prefect_server._free_port(port) not in (0, port)
    assert prefect_server._free_port(port) == port


class Closed(Quiet, BaseHTTPRequestHandler):
    """Answers as an API with a password does: its health without it, all else only with it."""

    def do_GET(self) -> None:
        """200, or 401 without the password."""
        allowed = "Basic " + base64.b64encode(b"farm:secret").decode()
        ok = self.path == "/api/health" or self.headers.get("Authorization") == allowed
        self.send_response(200 if ok else 401)
        self.end_headers()


@pytest.fixture(scope="module")
def closed_url() -> Iterator[str]:
    """The API URL of a server with a password."""
    with serving(Closed) as port:
        yield f"http://127.0.0.1:{port}/api"


@pytest.mark.parametrize("given", [None, "farm:wrong"])
def test_a_password_that_is_refused_is_named(
    closed_url: str, environment: dict[str, str], tmp_path: Path, given: str | None
) -> None:
    environment.pop("PREFECT_API_AUTH_STRING", None)
    if given:
        environment["PREFECT_API_AUTH_STRING"] = given
    with pytest.raises(OrchestrationError, match=r"refuses the password: set PREFECT_API_AUTH_STR"):
        prefect_server.require(Settings(home=tmp_path, prefect_api_url=closed_url))


def test_a_password_that_is_right_is_enough(
    closed_url: str, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["PREFECT_API_AUTH_STRING"] = "farm:secret"
    prefect_server.require(Settings(home=tmp_path, prefect_api_url=closed_url))


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_server, "ANSWER_SECONDS", 0.0)


@pytest.mark.usefixtures("_impatient")
def test_a_url_without_api_is_told_where_the_api_is(url: str, tmp_path: Path) -> None:
    without = url.removesuffix("/api")
    with pytest.raises(OrchestrationError, match=f"its API is at {without}/api: set"):
        prefect_server.require(Settings(home=tmp_path, prefect_api_url=without))


@pytest.mark.usefixtures("_impatient")
def test_a_password_in_the_url_is_not_shown(tmp_path: Path) -> None:
    says = r"at http://127\.0\.0\.1:1/api does not answer"
    with pytest.raises(OrchestrationError, match=says) as told:
        prefect_server.require(
            Settings(home=tmp_path, prefect_api_url="http://farm:secret@127.0.0.1:1/api")
        )
    assert "secret" not in str(told.value)
