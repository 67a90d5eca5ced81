"""No secret reaches a log record, whatever goes wrong with the parts that need it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from db.engine import open_database
from film import logs
from film.errors import DatabaseError, StoreError
from storage import open_store

SECRET, KEY_ID, TOKEN = "Zq8mV2xW/p@ss", "AKIAZZEXAMPLE", "hf_ZZyyXXwwVVuuTTssRRqq"
NOWHERE = "127.0.0.1:9"  # nothing listens there


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[logging.LogRecord]]:
    """Every record of every logger, debug records of libraries included, as a handler gets it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": f"{SECRET}-session",
        "AWS_MAX_ATTEMPTS": "1",
        "HF_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, value)
    factory, root, seen = logging.getLogRecordFactory(), logging.getLogger(), []
    handlers, level = list(root.handlers), root.level
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logs.install(handler, logging.DEBUG)
    handler.filters.clear()
    root.setLevel(logging.DEBUG)
    yield seen
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.setLogRecordFactory(factory)
    logging.captureWarnings(capture=False)
    for package in logs.PACKAGES:
        logging.getLogger(package).setLevel(logging.NOTSET)


def test_no_secret_reaches_a_record(records: list[logging.LogRecord]) -> None:
    logger = logging.getLogger("flows.test")
    database = open_database(f"postgresql://farm:{quote(SECRET, safe='')}@{NOWHERE}/films")
    try:
        with database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
    except DatabaseError as error:
        logger.warning("The database is away: %s", error, exc_info=error)
    store = open_store("s3://films/here", endpoint_url=f"http://{NOWHERE}")
    link = store.link("deliveries/film.mp4", 60)
    logger.info("The film is at %s", link)
    try:
        store.head("deliveries/film.mp4")
    except StoreError as error:
        logger.warning("The store is away: %s", error, exc_info=error)
    logging.getLogger("huggingface_hub").debug("headers: %s", {"authorization": f"Bearer {TOKEN}"})

    signature = link.partition("Signature=")[2].partition("&")[0]
    assert signature
    texts = [
        f"{record.getMessage()}\n{logs.detail_of(record)}\n{record.__dict__}" for record in records
    ]
    assert {record.name.partition(".")[0] for record in records} >= {"flows", "botocore"}
    for secret in (SECRET, SECRET.replace("/", "%2F"), KEY_ID, TOKEN, signature):
        assert [text for text in texts if secret in text] == []
