"""`/v1/batches`: the lines of a file become one campaign, or nothing."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.api.openai import batch_lines
from app.api.openai.batch_checker import BatchChecker
from app.api.openai.batch_lines import submit_batch
from db import batches
from db.films import film_lease, films, user_actions
from film.errors import StoreUnreachableError
from flows.cleaning import remove_films
from flows.farm import Farm
from tests.api.test_files import upload
from tests.db.farm import Farm as Rows


def line(custom_id: Any = "a", **fields: Any) -> dict[str, Any]:
    """A line of a batch."""
    body = {"prompt": f"A red ball {custom_id}.", "seconds": "2", **fields}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/videos", "body": body}


def file_of(client: TestClient, *lines: Any) -> str:
    """The id of an uploaded file with these lines (texts as they are)."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    made: str = upload(client, "\n".join(texts).encode()).json()["id"]
    return made


def create(client: TestClient, file: str, **fields: Any) -> Any:
    """The answer to a request for a batch."""
    headers = fields.pop("headers", None)
    body = {"input_file_id": file, "endpoint": "/v1/videos", "completion_window": "24h", **fields}
    return client.post("/v1/batches", json=body, headers=headers)


def check(client: TestClient) -> None:
    """Checks the batches that wait for it, as a thread of the service does."""
    checker = BatchChecker(client.app.state.farm)  # type: ignore[attr-defined]
    while checker.turn():
        pass


def started(client: TestClient, *lines: Any) -> dict[str, Any]:
    """A batch whose lines are checked."""
    made = create(client, file_of(client, *lines)).json()
    assert made["status"] == "validating"
    check(client)
    found: dict[str, Any] = client.get(f"/v1/batches/{made['id']}").json()
    return found


def lines_of(client: TestClient, file: str) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    content = client.get(f"/v1/files/{file}/content")
    assert client.get(f"/v1/files/{file}").json()["bytes"] == len(content.content)
    return [json.loads(text) for text in content.text.splitlines()]


def test_every_line_becomes_a_film_of_one_campaign(client: TestClient, rows: Rows) -> None:
    file = file_of(client, line("a"), "", line("b", seconds=3, model="demo"))
    made = create(client, file, metadata={"brief": "balls"}).json()
    check(client)
    batch = client.get(f"/v1/batches/{made['id']}").json()
    assert (batch["object"], batch["endpoint"], batch["status"]) == (
        *("batch", "/v1/videos", "in_progress"),
    )
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 0}
    assert batch["metadata"] == {"brief": "balls"}
    assert batch["output_file_id"] is None
    videos = client.get("/v1/videos").json()["data"]
    assert [video["prompt"] for video in videos] == ["A red ball a.", "A red ball b."]
    assert {video["id"].partition("-")[0] for video in videos} == {f"video_{batch['campaign']}"}
    campaign = client.get(f"/api/v1/campaigns/{batch['campaign']}").json()
    assert campaign["deadline"] == pytest.approx(batch["created_at"] + 24 * 3600, abs=60)


def test_results_are_lines_by_the_names_of_the_client(client: TestClient, rows: Rows) -> None:
    batch = started(client, line("a"), line("b"), line("c"))
    path = f"/v1/batches/{batch['id']}"
    rows.render_all()
    film = rows.claim_film()
    name = "abc"[int(film.id.rpartition("-")[2]) - 1]
    rows.write(film_lease.fail, film, "Segment 1 failed: no")
    rows.deliver()
    assert client.get(path).json()["status"] == "in_progress"
    rows.deliver()
    done = client.get(path).json()
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert isinstance(done["completed_at"], int)
    output = lines_of(client, done["output_file_id"])
    assert [each["custom_id"] for each in output] == sorted({*"abc"} - {name})
    assert {each["response"]["status_code"] for each in output} == {200}
    assert output[0]["response"]["body"]["status"] == "completed"
    assert output[0]["error"] is None
    (failed,) = lines_of(client, done["error_file_id"])
    assert (failed["custom_id"], failed["response"]) == (name, None)
    assert failed["error"] == {"code": "render_failed", "message": "Segment 1 failed: no"}
    assert client.delete(f"/v1/files/{done['output_file_id']}").status_code == 400
    (listed,) = client.get("/v1/files").json()["data"]
    assert listed["id"] == batch["input_file_id"]


def test_a_batch_is_cancelled_once(client: TestClient, rows: Rows) -> None:
    batch = started(client, line("a"), line("b"))
    rows.render_all()
    rows.deliver()
    cancelled = client.post(f"/v1/batches/{batch['id']}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    (error,) = lines_of(client, cancelled["error_file_id"])
    assert error["error"]["code"] == "cancelled"
    assert client.post(f"/v1/batches/{batch['id']}/cancel").json() == cancelled
    rows.write(user_actions.requeue, cancelled["campaign"])
    assert client.get(f"/v1/batches/{batch['id']}").json()["status"] == "in_progress"


def test_a_completed_batch_cannot_be_cancelled_any_more(client: TestClient, rows: Rows) -> None:
    batch = started(client, line("a"))
    rows.render_all()
    rows.deliver()
    assert client.post(f"/v1/batches/{batch['id']}/cancel").json()["status"] == "completed"
    remove_films(client.app.state.farm, batch["campaign"])  # type: ignore[attr-defined]
    gone = client.get(f"/v1/batches/{batch['id']}").json()
    assert gone["status"] == "completed"
    assert gone["request_counts"]["total"] == 1


def test_one_wrong_line_and_nothing_is_rendered(client: TestClient) -> None:
    batch = started(
        client,
        line("good"),
        "{",
        line("good"),
        line("size", size="big"),
        {**line("url"), "url": "/v1/images"},
        {**line("method"), "method": "GET"},
        {**line("body"), "body": []},
        {**line("more"), "priority": 1},
        line(""),
        line("model", model="sora-2"),
        line("path", input_reference="/etc/passwd"),
        line("picture", input_reference="data:image/png;base64,AAAA"),
        line("a\nb"),
        line("long", seconds="999999"),
    )
    assert batch["status"] == "failed"
    assert isinstance(batch["failed_at"], int)
    found = [(one["line"], one["param"], one["code"]) for one in batch["errors"]["data"]]
    assert found == [
        (2, None, "invalid_value"),
        (3, "custom_id", "duplicate_custom_id"),
        (4, "size", "invalid_value"),
        (5, "url", "invalid_value"),
        (6, "method", "invalid_value"),
        (7, "body", "invalid_value"),
        (8, None, "invalid_value"),
        (9, "custom_id", "invalid_value"),
        (10, "model", "model_not_found"),
        (11, "input_reference", "invalid_value"),
        (12, "input_reference", "invalid_value"),
        (13, "custom_id", "invalid_value"),
        (14, None, "invalid_value"),
    ]
    assert all(one["message"] for one in batch["errors"]["data"])
    assert client.get("/v1/videos").json()["data"] == []
    assert client.post(f"/v1/batches/{batch['id']}/cancel").json()["status"] == "failed"


@pytest.mark.parametrize(
    ("content", "limits", "code"),
    [
        (" \n", {}, "empty_file"),
        (json.dumps(line()) + "\n" + json.dumps(line("b")), {"MOST_LINES": 1}, "too_many_lines"),
        (json.dumps(line()), {"MOST_LINE_BYTES": 20}, "line_too_long"),
        ("{\n{\n{", {"MOST_ERRORS": 2}, "too_many_errors"),
        ("[" * 100_000, {}, "invalid_value"),
    ],
)
def test_files_that_are_no_batches_fail_it(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    limits: dict[str, int],
    code: str,
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(f"app.api.openai.batch_lines.{name}", value)
    batch = started(client, content)
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][-1]["code"] == code


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/chat/completions"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": None}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_requests_that_are_none_are_refused(
    client: TestClient, fields: dict[str, Any], param: str
) -> None:
    answer = create(client, file_of(client, line()), **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert client.get("/v1/batches").json()["data"] == []


def test_the_file_must_be_there_and_be_meant_for_it(client: TestClient) -> None:
    assert create(client, "file-none").status_code == 404
    other = upload(client, purpose="vision").json()["id"]
    assert "upload it with the purpose batch" in create(client, other).json()["error"]["message"]
    assert client.get("/v1/batches/batch_none").status_code == 404
    assert client.get("/v1/files/file-batch_00-output/content").status_code == 404


def test_a_request_that_is_sent_again_makes_one_batch(client: TestClient) -> None:
    file = file_of(client, line())
    first = create(client, file).json()["id"]
    check(client)
    again = create(client, file, headers={"x-stainless-retry-count": "1"}).json()
    assert (again["id"], again["status"]) == (first, "in_progress")
    assert create(client, file).json()["id"] != first
    key = {"idempotency-key": "k"}
    keyed = create(client, file, headers=key).json()["id"]
    assert create(client, file, headers=key).json()["id"] == keyed
    conflict = create(client, file, headers=key, completion_window="48h")
    assert conflict.status_code == 409
    ids = [batch["id"] for batch in client.get("/v1/batches").json()["data"]]
    assert len(ids) == 3
    page = client.get("/v1/batches", params={"limit": 2}).json()
    assert page["has_more"]
    rest = client.get("/v1/batches", params={"after": page["last_id"]}).json()
    assert [batch["id"] for batch in page["data"] + rest["data"]] == ids


def test_a_batch_that_is_cancelled_while_it_is_checked_submits_nothing(
    client: TestClient, small_farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batch_lines.submit_planned

    def cancelling(farm: Farm, *arguments: Any) -> Any:
        (batch,) = client.get("/v1/batches").json()["data"]
        answer = client.post(f"/v1/batches/{batch['id']}/cancel").json()
        assert answer["status"] == "cancelled"
        return real(farm, *arguments)

    monkeypatch.setattr(batch_lines, "submit_planned", cancelling)
    assert started(client, line())["status"] == "cancelled"
    assert client.get("/v1/videos").json()["data"] == []


def test_another_process_continues_with_the_batch_of_one_that_died(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = create(client, file_of(client, line())).json()
    path = f"/v1/batches/{batch['id']}"
    dead = rows.write(batches.claim)
    check(client)
    assert client.get(path).json()["status"] == "validating"
    monkeypatch.setattr(batches, "LEASE_SECONDS", -1.0)
    rows.write(batches.beat, dead)
    monkeypatch.undo()
    check(client)
    assert client.get(path).json()["status"] == "in_progress"
    assert not rows.write(batches.start, dead, "late", 1)


def test_a_batch_that_ends_every_process_is_given_up(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = create(client, file_of(client, line())).json()
    monkeypatch.setattr(batches, "LEASE_SECONDS", -1.0)
    for _ in range(3):
        assert rows.write(batches.claim) is not None
    monkeypatch.undo()
    check(client)
    found = client.get(f"/v1/batches/{batch['id']}").json()
    assert (found["status"], found["errors"]["data"][0]["code"]) == ("failed", "interrupted")


def test_a_service_that_stops_leaves_the_batch_to_another(
    client: TestClient, small_farm: Farm, rows: Rows
) -> None:
    batch = create(client, file_of(client, line())).json()
    stopping = threading.Event()
    stopping.set()
    submit_batch(small_farm, rows.write(batches.claim), stopping)
    assert client.get("/v1/videos").json()["data"] == []
    check(client)
    assert client.get(f"/v1/batches/{batch['id']}").json()["status"] == "in_progress"


def test_an_outage_of_the_store_delays_a_batch(
    client: TestClient, small_farm: Farm, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: Any) -> Any:
        raise StoreUnreachableError("The store does not answer.")

    monkeypatch.setattr(batch_lines, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(type(small_farm.store), "get_file", away)
    batch = create(client, file_of(client, line())).json()
    for _ in range(5):
        assert BatchChecker(small_farm).turn()
    assert client.get(f"/v1/batches/{batch['id']}").json()["status"] == "validating"
    monkeypatch.undo()
    check(client)
    assert client.get(f"/v1/batches/{batch['id']}").json()["status"] == "in_progress"


def test_a_fault_of_ours_fails_the_batch_and_is_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("app.api.openai.batch_lines.Planner.plan", broken)
    batch = started(client, line())
    assert batch["errors"]["data"][0]["code"] == "internal"
    assert "A batch failed: ZeroDivisionError()" in caplog.text


def test_videos_of_a_batch_are_videos(client: TestClient, rows: Rows) -> None:
    started(client, line("a", input_reference=None, seed=5))
    (video,) = client.get("/v1/videos").json()["data"]
    assert video["seed"] == 5
    film = video["id"].removeprefix("video_")
    assert rows.read(films.get, film).title == "A red ball a"
    assert client.delete(f"/v1/videos/{video['id']}").json()["deleted"]
