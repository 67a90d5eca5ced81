"""Log records: their text and JSON, which levels pass, and that no secret is in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film import errors, logs
from film.logs import LogFormat, configure, ids, redact

OURS = logging.getLogger("flows.test")
THEIRS = logging.getLogger("some.library")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is as before after each test."""
    root = logging.getLogger()
    handlers, level, factory = list(root.handlers), root.level, logging.getLogRecordFactory()
    levels = {name: logging.getLogger(name).level for name in logs.PACKAGES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.setLogRecordFactory(factory)
    logging.captureWarnings(capture=False)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def printed(level: str, form: LogFormat = LogFormat.JSON) -> io.StringIO:
    """The stream that receives records from now on."""
    stream = io.StringIO()
    configure(level, form, stream)
    return stream


def test_a_json_record_names_its_film_segment_attempt_and_worker() -> None:
    stream = printed("info")
    OURS.info(
        "Rendered %d frames", 9, extra=ids(film="k3-1", position=2, attempt=4, worker="gpu-0")
    )
    record = json.loads(stream.getvalue())
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "flows.test",
        "message": "Rendered 9 frames",
        "film": "k3-1",
        "segment": 3,
        "attempt": 4,
        "worker": "gpu-0",
    }


def test_a_text_record_is_one_line_with_its_ids_behind_it() -> None:
    stream = printed("info", LogFormat.TEXT)
    OURS.warning("Two\nlines", extra=ids(film="k3-1", position=0))
    line = stream.getvalue()
    assert line.endswith(" WARNING flows.test: Two lines  film=k3-1 segment=1\n")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("error", ["error"], []),
        ("warning", ["warning", "error"], []),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("debug", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
    ],
)
@pytest.mark.parametrize("own_level", [logging.NOTSET, logging.DEBUG])
def test_libraries_are_quieter_whatever_level_they_set_themselves(
    level: str, ours: list[str], theirs: list[str], own_level: int
) -> None:
    stream = printed(level)
    THEIRS.setLevel(own_level)
    for logger in (OURS, THEIRS):
        for name in logs.LEVELS:
            logger.log(logging.getLevelNamesMapping()[name.upper()], "message")
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [r["level"] for r in records if r["logger"] == OURS.name] == ours
    assert [r["level"] for r in records if r["logger"] == THEIRS.name] == theirs
    THEIRS.setLevel(logging.NOTSET)


def test_a_traceback_is_in_json_always_and_in_text_when_asked_for() -> None:
    def fail(stream: io.StringIO) -> str:
        try:
            raise ValueError("no such segment")
        except ValueError as error:
            OURS.error("Failed: %s", error, exc_info=error)
        return stream.getvalue()

    assert "Traceback" in json.loads(fail(printed("warning")))["traceback"]
    assert "Traceback" not in fail(printed("warning", LogFormat.TEXT))
    assert "Traceback" in fail(printed("info", LogFormat.TEXT))


def test_a_second_configuration_replaces_the_first() -> None:
    first, second = printed("info"), printed("info")
    OURS.info("Once")
    assert first.getvalue() == ""
    assert second.getvalue().count("Once") == 1


SECRET = "s3cr3t/p@ss"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://farm:{SECRET}@db.example/films failed",
        f"connect(postgresql+psycopg://farm:{SECRET}@db/films?sslmode=require)",
        f"host=db user=farm password={SECRET} dbname=films",
        f"{{'password': '{SECRET}'}}",
        f"https://bucket/key?X-Amz-Credential=AKIA&X-Amz-Signature={SECRET}&X-Amz-Expires=9",
        f"https://bucket/key?AWSAccessKeyId=AKIA&Signature={SECRET}",
        f"headers: {{'Authorization': 'Bearer {SECRET}', 'Accept': '*/*'}}",
        f"Authorization: AWS4-HMAC-SHA256 Credential=AKIA, Signature={SECRET}",
        f"{{'X-Amz-Security-Token': b'{SECRET}'}}",
        "token hf_AbCdEfGhIjKlMnOpQrStUvWxYz was refused",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    hidden = redact(text)
    assert SECRET not in hidden
    assert "p@ss" not in hidden
    assert "hf_A" not in hidden
    assert "***" in hidden


def test_what_is_not_a_secret_stays_as_it_is() -> None:
    for text in (
        "postgresql://db.example/films",
        "http://127.0.0.1:4242/api/health",
        "The password of the role is missing.",
        "user@example.com sent a film",
        "12:30 to 13:45 @ the sea",
    ):
        assert redact(text) == text


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40))
def test_a_secret_of_the_environment_is_hidden_wherever_it_stands(secret: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        stream = printed("info")
        try:
            raise RuntimeError(f"refused: <{secret}>")
        except RuntimeError as error:
            OURS.warning("With %s in it", secret, exc_info=error)
        record = json.loads(stream.getvalue())
    assert secret not in record["message"] or secret in "With *** in it"
    assert f"<{secret}>" not in record["traceback"]


def test_other_handlers_receive_no_secret_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGREEL_TEST_TOKEN", SECRET)
    printed("info")
    seen: list[logging.LogRecord] = []
    other = logging.Handler()
    other.emit = seen.append  # type: ignore[method-assign]
    OURS.addHandler(other)
    try:
        try:
            raise RuntimeError(SECRET)
        except RuntimeError as error:
            OURS.warning("%s", {"token": SECRET}, exc_info=error)
    finally:
        OURS.removeHandler(other)
    (record,) = seen
    assert SECRET not in repr(record.__dict__)


def test_a_warning_that_is_repeated_is_printed_once_with_the_number_of_the_others() -> None:
    stream = printed("info")
    for number in range(5):
        OURS.warning("The database is away: %s", number, extra=ids(film="k-1"))
        OURS.warning("The database is away: %s", number, extra=ids(film="k-2"))
        OURS.info("Still there")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [r["film"] for r in lines if r["level"] == "warning"] == ["k-1", "k-2"]
    assert sum(r["level"] == "info" for r in lines) == 5
    record = logging.makeLogRecord({"name": "x", "levelno": 30, "msg": "Away", "created": 1000.0})
    repeats = logs.RepeatFilter()
    assert repeats.filter(record)
    for later in (1001.0, 1029.0):
        record.created = later
        assert not repeats.filter(record)
    record.created = 1031.0
    assert repeats.filter(record)
    assert record.getMessage() == "Away (2 more like this)"


def test_errors_that_are_raised_on_purpose_are_traced_with_vv_only() -> None:
    ours, foreign = errors.DatabaseError("Away."), KeyError("x")
    printed("info")
    assert (logs.trace(ours), logs.trace(foreign)) == (None, foreign)
    printed("debug")
    assert logs.trace(ours) is ours
