"""Sends what is in the outbox: signed by Standard Webhooks, again after a failure, for a day."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpcore
from standardwebhooks import Webhook

from app.api.network_guard import AddressError, GuardedBackend
from app.api.openai.objects import video_id
from db import webhooks
from db.webhooks import Endpoint, Note
from film.errors import DatabaseError, LongreelError
from film.logs import trace
from film.settings import Network
from flows.farm import Farm

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Pause between two looks at an empty outbox."""
TIMEOUT = {"connect": 5.0, "read": 10.0, "write": 5.0, "pool": 5.0}
"""Seconds that an endpoint may take."""
MOST_ERROR = 200
FORGET_SECONDS = 3600.0
"""Pause between two removals of old notes."""

Post = Callable[[str, dict[str, str], bytes], int]
"""Sends a body to a URL with headers; returns the status of the answer."""


def guarded_post(allowed: Sequence[Network]) -> Post:
    """Posts to open addresses only, and follows no redirect. Raises `AddressError` and httpcore's
    errors."""
    pool = httpcore.ConnectionPool(network_backend=GuardedBackend(allowed), max_connections=20)

    def post(url: str, headers: dict[str, str], body: bytes) -> int:
        with pool.stream(
            "POST",
            url,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            content=body,
            extensions={"timeout": TIMEOUT},
        ) as answer:
            return answer.status  # what it says is not read

    return post


def signed(endpoint: Endpoint, event_id: str, body: str, at: float) -> dict[str, str]:
    """The headers of a note that is sent at `at` (seconds since 1970)."""
    secrets = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_until is not None and at < endpoint.old_until:
        secrets.append(endpoint.old_secret)
    when = datetime.fromtimestamp(int(at), UTC)
    signatures = [Webhook(secret).sign(event_id, when, body) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "Longreel",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(signatures),
    }


def body_of(event_id: str, kind: str, film_id: str, created_at: float) -> str:
    """What is sent, in OpenAI's shape."""
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "created_at": int(created_at),
            "type": kind,
            "data": {"id": video_id(film_id)},
        }
    )


def send(
    endpoint: Endpoint,
    kind: str,
    film_id: str,
    event_id: str,
    at: float,
    post: Post,
    created_at: float | None = None,
) -> int:
    """Sends one note of something that happened at `created_at` (None: now); the status of the
    answer. Raises as `post` does."""
    body = body_of(event_id, kind, film_id, at if created_at is None else created_at)
    return post(endpoint.url, signed(endpoint, event_id, body, at), body.encode())


class Sender:
    """Empties the outbox in a thread; any number of processes may do so."""

    def __init__(self, farm: Farm, post: Post) -> None:
        self._farm, self._post = farm, post
        self._stopping = threading.Event()
        self._forgot = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the note that is being sent."""
        self._stopping.set()
        self._thread.join(sum(TIMEOUT.values()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self.turn()
                self._forget()
            except LongreelError as error:
                logger.warning("Webhooks wait: %s", error, exc_info=trace(error))
                busy = False
            except Exception as error:
                logger.error("Webhooks could not be sent: %r", error, exc_info=error)
                busy = False
            if not busy:
                self._stopping.wait(LOOK_SECONDS)

    def _forget(self) -> None:
        if time.monotonic() - self._forgot > FORGET_SECONDS:
            with self._farm.database.write() as connection:
                webhooks.forget_sent(connection)
            self._forgot = time.monotonic()

    def turn(self) -> bool:
        """Sends what is due; False if that was nothing. Raises `DatabaseError`."""
        with self._farm.database.write() as connection:
            notes = webhooks.claim(connection)
        for note in notes:
            if not self._stopping.is_set():
                self._send(note)
        return bool(notes)

    def _send(self, note: Note) -> None:
        ids = {"film": note.film_id, "endpoint": note.endpoint.id}
        error = self._try(note)
        try:
            with self._farm.database.write() as connection:
                if error is None:
                    webhooks.note_sent(connection, note)
                elif webhooks.note_failed(connection, note, error):
                    logger.error("A webhook was given up after a day: %s", error, extra=ids)
                else:
                    logger.warning("A webhook is sent again later: %s", error, extra=ids)
        except DatabaseError as away:  # sent again after its lease; receivers know it by its id
            logger.warning("That a webhook was sent was not noted: %s", away, extra=ids)

    def _try(self, note: Note) -> str | None:
        """Why it did not arrive; None if it did."""
        event_id = f"evt_{note.endpoint.id.removeprefix('we_')}{note.id}"
        try:
            status = send(
                note.endpoint,
                note.event_type,
                note.film_id,
                event_id,
                note.at,
                self._post,
                note.created_at,
            )
        except AddressError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  (httpcore, ssl, sockets: no common base)
            return f"{type(error).__name__}: {error}"[:MOST_ERROR]
        return None if 200 <= status < 300 else f"The endpoint answered with {status}."
