"""A model hub that answers as the Hugging Face hub does to huggingface_hub 2."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import Installation

Files = Mapping[str, bytes]

TOKEN = "hf_of_somebody_who_accepted_the_licence"
STRANGER = "hf_of_somebody_else"


@dataclass
class Repository:
    """What lies under one id."""

    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    """As on the hub: every user sees the names of the files, and only those with access get
    them."""


class Hub:
    """Serves repositories on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        """Methods and paths of all requests."""
        self.given: list[str] = []
        """Names of the files that were sent completely."""
        self.breaks: str | None = None
        """The file that is broken off in the middle and then refused."""
        self.breaks_once: str | None = None
        """The file that is broken off in the middle; the rest of it is given when asked for."""
        self.holds: str | None = None
        """The file in whose middle it waits until `let_go`."""
        self.holding = threading.Event()
        """Set while it waits."""
        self._going_on = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, repository: str, files: Files, *, branch: str = "main") -> str:
        """A new commit of `branch` with these files; its 40 hex digits."""
        found = self.repositories.setdefault(repository, Repository())
        commit = hashlib.sha1(repr((len(found.commits), sorted(files.items()))).encode())
        found.commits[commit.hexdigest()] = files
        found.branches[branch] = commit.hexdigest()
        return commit.hexdigest()

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that make huggingface_hub ask this hub, and use nothing of this machine's."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN": "",
            "HF_HUB_OFFLINE": "",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def let_go(self) -> None:
        """Ends the wait in the middle of a file, and has no other."""
        self.holds = None
        self._going_on.set()

    def wait(self) -> None:
        """For who answers: waits until `let_go`."""
        self.holding.set()
        self._going_on.wait(60)

    def close(self) -> None:
        """The hub is away from now on."""
        self.let_go()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: Any) -> None:
        """Nothing: `Hub.asked` has it."""

    @property
    def _hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self._hub.asked.append(f"{self.command} {path}")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in ("", TOKEN, STRANGER):
            return self._refuse(401, None, "Invalid credentials in Authorization header")
        api = path.startswith("/api/models/")
        owner, name, *rest = path.removeprefix("/api/models/").strip("/").split("/")
        repository = self._hub.repositories.get(f"{owner}/{name}")
        if repository is None:
            # A user without a token does not learn if it exists.
            return self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        if api:
            return self._api(f"{owner}/{name}", repository, rest)
        return self._file(repository, rest[1], "/".join(rest[2:]), token)

    def _api(self, repository_id: str, repository: Repository, rest: list[str]) -> None:
        kind, *revision = rest or ["revision", "main"]
        commit = _commit(repository, "/".join(revision))
        if commit is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        files = repository.commits[commit]
        if kind == "tree":
            return self._send_json([_entry(name, content) for name, content in files.items()])
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        return self._send_json({"id": repository_id, "sha": commit, "siblings": siblings})

    def _file(self, repository: Repository, revision: str, name: str, token: str) -> None:
        commit = _commit(repository, revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        content = repository.commits[commit].get(name)
        if content is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", commit)
        if repository.gated and token != TOKEN:
            return self._refuse(403 if token else 401, "GatedRepo", "Access is restricted", commit)
        asked = self.headers.get("Range", "")
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        breaks = self.command == "GET" and name in (self._hub.breaks, self._hub.breaks_once)
        if breaks and begin:  # for the one that breaks for good
            return self._refuse(503, None, "Try again")
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if breaks:
            if self._hub.breaks_once == name:
                self._hub.breaks_once = None
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return None
        half = (begin + len(content)) // 2
        self.wfile.write(content[begin:half])
        if self._hub.holds == name:
            self._hub.wait()
        self.wfile.write(content[half:])
        self._hub.given.append(name)
        return None

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str | None, message: str, commit: str = "") -> None:
        self.send_response(status)
        for name, value in (
            ("X-Error-Code", code),
            ("X-Error-Message", message),
            ("X-Repo-Commit", commit),
        ):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _commit(repository: Repository, revision: str) -> str | None:
    commit = repository.branches.get(revision, revision)
    return commit if commit in repository.commits else None


def _entry(name: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}


@pytest.fixture
def hub(installation: Installation, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the installation's commands ask, and an empty cache of theirs."""
    hub = Hub()
    installation.environment.update(hub.environment(tmp_path / "huggingface"))
    yield hub
    hub.close()
