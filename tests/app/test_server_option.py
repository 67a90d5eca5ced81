"""Commands against a farm behind a service: the same output, and one sentence for each fault."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from db import api_keys
from db.api_keys import Scope
from film.settings import Settings
from flows.farm import Farm
from storage import keys
from tests.actions.test_contract import CONTENT, deliver
from tests.conftest import Installation
from tests.db.conftest import sqlite_template
from tests.db.farm import Farm as Rows
from tests.services.service import serving
from tests.services.tls import make_certificate

__all__ = ["sqlite_template"]

CAMPAIGN = "name: autumn\ndefaults: {seconds: 2}\nfilms: [A red ball., A blue square.]\n"


@pytest.fixture
def far(tmp_path: Path, sqlite_template: Path) -> Iterator[Farm]:
    """A farm on another machine, as far as commands can see."""
    home = tmp_path / "far"
    home.mkdir()
    shutil.copy(sqlite_template, home / "longreel.db")
    farm = Farm(Settings(home=home, prefect_api_url=None, threads=1))
    yield farm
    farm.close()


@pytest.fixture
def address(far: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its service."""
    monkeypatch.setattr("app.api.identity.NEEDED_SECONDS", 0.0)
    with serving(far) as address:
        yield address


def run(installation: Installation, url: str, *arguments: str | Path) -> str:
    """What a command prints that must work; it must leave nothing on this machine."""
    done = installation.run(*arguments, LONGREEL_SERVER=url)
    assert done.returncode == 0, done.stderr
    assert not (installation.home / "longreel.db").exists()
    return done.stdout


def test_a_campaign_is_submitted_watched_and_fetched(
    installation: Installation, far: Farm, address: str, tmp_path: Path
) -> None:
    (installation.home / "c.yaml").write_text(CAMPAIGN)
    plan = run(installation, address, "submit", "c.yaml", "--dry-run")
    assert plan.splitlines()[-1] == "2 films, 2 segments, 32 frames, 4 s"
    name = run(installation, address, "submit", "c.yaml", "--priority", "3").strip()
    assert "A blue square" in run(installation, address, "ls")
    assert "No film is like that" in run(installation, address, "ls", "--until", "1d")
    assert "autumn: active, priority 3" in run(installation, address, "show", name)
    assert "No worker is running" in run(installation, address, "show", f"{name}-1")
    assert "autumn" in run(installation, address, "campaigns")
    assert f"{name}-1  queued" in run(installation, address, "events", name)
    assert "paused" in run(installation, address, "pause", name)
    assert "active" in run(installation, address, "resume", name)
    assert "priority 9" in run(installation, address, "priority", name, "9")
    assert "at most 4" in run(installation, address, "max-workers", name, "4")
    assert "deadline 2030-01-01" in run(installation, address, "deadline", name, "2030-01-01")
    assert "deadline" not in run(installation, address, "deadline", name, "none")
    rows = Rows(far.database)
    deliver(rows, far)
    folder = tmp_path / "films"
    done = installation.run("download", name, "-o", folder, LONGREEL_SERVER=address)
    assert (done.returncode, done.stdout.count("\n")) == (3, 1), done.stderr
    assert f"{name}-2 is queued: there is nothing to download." in done.stderr
    assert Path(done.stdout.strip()).read_bytes() == CONTENT
    assert "A red ball" in run(installation, address, "show", f"{name}-1")
    assert f"{name}-2  cancelled" in run(installation, address, "cancel", name)
    assert f"{name}-2  queued again" in run(installation, address, "requeue", name)
    again = run(installation, address, "retake", f"{name}-1", "--scene", "1").strip()
    run(installation, address, "cancel", again)
    run(installation, address, "cancel", name)
    usage = json.loads(run(installation, address, "usage", "--json"))
    assert usage["films_bytes"] == len(CONTENT)
    assert "Would remove" in run(installation, address, "clean", "--dry-run")
    assert run(installation, address, "rm", name) == "Removed 2 films.\n"
    assert "No workers" in run(installation, address, "workers")
    assert "demo" in run(installation, address, "models")


def test_the_option_goes_before_or_after_the_command_and_over_the_variable(
    installation: Installation, address: str
) -> None:
    for words in (["--server", address, "ls"], ["ls", "--server", address]):
        done = installation.run(*words, LONGREEL_SERVER="http://127.0.0.1:9")
        assert (done.returncode, done.stdout[:12]) == (0, "No films yet"), done.stderr
        assert not (installation.home / "longreel.db").exists()


def test_pictures_of_this_machine_reach_the_farm(
    installation: Installation, far: Farm, address: str
) -> None:
    Image.new("RGB", (96, 64), "red").save(installation.home / "a.png")
    words = ["submit", "A ball.", "--seconds", "2", "--image", "a.png", "--continuity", "cut"]
    name = run(installation, address, *words).strip()
    request = json.loads(run(installation, address, "show", f"{name}-1", "--json"))["request"]
    assert far.store.head(keys.image(request["image"])) is not None
    done = installation.run("submit", "A ball.", "--image", "b.png", LONGREEL_SERVER=address)
    assert (done.returncode, "There is no file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["render", "A ball."], "render"),
        (["worker"], "worker"),
        (["up"], "up"),
        (["serve"], "serve"),
        (["models", "pull", "demo"], "models pull"),
        (["keys"], "keys"),
        (["keys", "create", "x"], "keys"),
    ],
)
def test_what_needs_this_machine_says_so(
    installation: Installation, arguments: list[str], name: str
) -> None:
    for words in (["--server", "http://127.0.0.1:9", *arguments], [*arguments, "--server", "x"]):
        done = installation.run_forked(*words)
        assert done.returncode == 2
        assert done.stderr.strip().startswith(
            f"longreel: `longreel {name}` works on this machine only"
        )
    assert list(installation.home.iterdir()) == []


def test_keys_are_not_made_here_by_mistake(installation: Installation) -> None:
    done = installation.run("keys", "create", "x", LONGREEL_SERVER="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unset LONGREEL_SERVER" in done.stderr


def refused(installation: Installation, *arguments: str, **more: str) -> str:
    """The one sentence with which a command fails."""
    done = installation.run(*arguments, **more)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def test_what_is_wrong_with_the_key_is_one_sentence(
    installation: Installation, far: Farm, address: str
) -> None:
    with far.database.write() as connection:
        reading = api_keys.create(connection, "reader", [Scope.READ])
    says = refused(installation, "ls", LONGREEL_SERVER=address)
    assert "needs a key: set LONGREEL_KEY" in says
    says = refused(installation, "ls", LONGREEL_SERVER=address, LONGREEL_KEY="lr_wrong")
    assert "does not accept the key in LONGREEL_KEY" in says
    assert "lr_wrong" not in says
    mine = {"LONGREEL_SERVER": address, "LONGREEL_KEY": reading}
    assert installation.run("ls", **mine).returncode == 0
    assert installation.run("clean", "--dry-run", **mine).returncode == 0
    assert "The key 'reader' lacks the scope `steer`." in refused(installation, "clean", **mine)
    assert "lacks the scope `submit`" in refused(installation, "submit", "A ball.", **mine)
    says = refused(installation, "ls", LONGREEL_SERVER=address, LONGREEL_KEY="a\u00a0b")
    assert "has characters that no key has" in says


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:9", "The farm at http://127.0.0.1:9 does not answer"),
        ("http://no-such-host.invalid", "does not answer"),
        ("ftp://farm", "is not an address"),
        ("farm.example.org", "is not an address"),
        ("http://", "is not an address"),
        ("http://ana:secret@farm", "has a user or a password in it"),
        ("http://127.0.0.1:99999", "is not an address"),
        ("http://a b", "is not an address"),
    ],
)
def test_an_address_that_cannot_work_is_one_sentence(
    installation: Installation, url: str, says: str
) -> None:
    said = refused(installation, "ls", LONGREEL_SERVER=url)
    assert says in said
    assert "secret" not in said


class Other(BaseHTTPRequestHandler):
    """Something that is not the service of a farm."""

    status, kind, body = 404, "text/html", b"<html>not here</html>"

    def do_GET(self) -> None:
        """Answers everything in the same way."""
        self.send_response(self.status)
        self.send_header("content-type", self.kind)
        self.send_header("location", "https://elsewhere.invalid/")
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "kind", "body", "says"),
    [
        (404, "text/html", b"<html>", "it is an older version of Longreel, or something else"),
        (
            404,
            "application/problem+json",
            b'{"detail": "Not Found"}',
            "it is an older version of Longreel",
        ),
        (200, "text/html", b"<html>", "is not the service of a Longreel farm"),
        (200, "application/json", b'{"items": [{"id": "x"}], "next": null}', "cannot read"),
        (200, "application/json", b"[]", "is not the service"),
        (200, "application/json", b"{}", "answers without 'items'"),
        (301, "text/html", b"", "leads elsewhere"),
        (502, "text/html", b"", "refuses that for now"),
        (500, "application/problem+json", b'{"detail": "A fault."}', "failed: A fault."),
    ],
)
def test_what_is_no_service_of_this_version_is_one_sentence(
    installation: Installation,
    other: str,
    status: int,
    kind: str,
    body: bytes,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Other, "status", status)
    monkeypatch.setattr(Other, "kind", kind)
    monkeypatch.setattr(Other, "body", body)
    assert says in refused(installation, "ls", LONGREEL_SERVER=other)


def test_tls_that_cannot_work_is_one_sentence(installation: Installation, other: str) -> None:
    says = refused(installation, "ls", LONGREEL_SERVER=other.replace("http", "https"))
    assert "No TLS connection" in says


def test_a_certificate_that_is_not_trusted_is_named(
    installation: Installation, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    server = HTTPServer(("127.0.0.1", 0), Other)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_port}"
    assert "is not trusted here" in refused(installation, "ls", LONGREEL_SERVER=url)
    server.shutdown()
    server.server_close()


def test_a_server_that_restarts_is_waited_for(installation: Installation, far: Farm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(far, port) as address:
        installation.environment["LONGREEL_SERVER"] = address
        (name,) = installation.run("submit", "A ball.", "--seconds", "2").stdout.split()
        events = installation.start("events", name, "--follow")
        assert events.stdout is not None
        assert events.stderr is not None
        assert "queued" in events.stdout.readline()
        waiting = installation.start("submit", "A cube.", "--seconds", "2", "--wait")
        assert waiting.stderr is not None
        line = ""
        while "waiting" not in line:
            line = waiting.stderr.readline()
    assert events.stderr.readline() == "The server does not answer; waiting for it.\n"
    with serving(far, port):
        for film in installation.json("ls"):
            installation.run("cancel", film["campaign"])
        out, _ = events.communicate(timeout=60)
        assert "cancelled" in out
        assert events.returncode == 0
        waiting.communicate(timeout=60)
        assert waiting.returncode == 1  # none was delivered


def test_a_folder_is_kept_like_a_campaign(
    installation: Installation, far: Farm, address: str
) -> None:
    (installation.home / "c.yaml").write_text(CAMPAIGN)
    name = run(installation, address, "submit", "c.yaml").strip()
    deliver(Rows(far.database), far)
    words = ["sync", name, "films", "--names", "{name}/{number:03}-{title}"]
    mine = {"LONGREEL_SERVER": address}
    first = installation.run(*words, **mine)
    assert (first.returncode, first.stdout) == (3, "films/autumn/001-a-red-ball.mp4\n")
    assert first.stderr.endswith("1 film fetched, 1 of 2 are there.\n")
    assert "is queued: there is nothing to fetch." in first.stderr
    again = installation.run(*words, **mine)
    assert (again.returncode, again.stdout) == (3, "")
    assert (installation.home / "films/autumn/001-a-red-ball.mp4").read_bytes() == CONTENT
    run(installation, address, "cancel", name)
    done = installation.run(*words, "--follow", "--json", **mine)
    assert done.returncode == 3
    assert [each["problem"] for each in json.loads(done.stdout)] == [None, "It is cancelled."]
    assert refused(installation, "sync", "none", "films", **mine).endswith("what there is.")
    (installation.home / "file").write_text("")
    assert "give a folder" in refused(installation, "sync", name, "file", **mine)
    assert "no field" in refused(installation, "sync", name, "new", "--names", "{x}", **mine)
    assert not (installation.home / "new").exists()


def test_what_a_farm_in_a_folder_does_not_have_is_said(
    installation: Installation, far: Farm, address: str
) -> None:
    (installation.home / "c.yaml").write_text(CAMPAIGN)
    name = run(installation, address, "submit", "c.yaml").strip()
    deliver(Rows(far.database), far)
    mine = {"LONGREEL_SERVER": address}
    assert "there are no links" in refused(installation, "link", f"{name}-1", **mine)
    assert "on its own machine only" in refused(installation, "dashboard", **mine)
    assert "--stop is for" in refused(installation, "dashboard", "--stop", **mine)
    opened = installation.run("open", f"{name}-1", **mine)
    assert opened.stdout.startswith("file://")
