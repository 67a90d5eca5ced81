"""`/api/v1`: what the command line does, over HTTP."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from db.engine import Database
from db.films import film_lease
from db.workers import registry
from db.workers.registry import Registration
from film.errors import DatabaseError
from flows.farm import Farm
from storage import keys
from tests.db.farm import DELIVERY
from tests.db.farm import Farm as Rows

CAMPAIGN = """\
name: autumn
priority: 2
defaults: {seconds: 2}
films: [A red ball., A blue square.]
"""


def post(client: TestClient, text: str, kind: str = "application/yaml", **query: Any) -> Any:
    """The answer to a campaign."""
    return client.post(
        "/api/v1/campaigns", content=text, headers={"content-type": kind}, params=query
    )


@pytest.fixture
def campaign(client: TestClient) -> str:
    """A campaign of two films; its id."""
    return str(post(client, CAMPAIGN).json()["id"])


@pytest.mark.parametrize(
    ("kind", "text", "films"),
    [
        ("application/yaml", CAMPAIGN, 2),
        ("application/json", json.dumps({"films": [{"prompt": "A ball.", "seconds": 2}]}), 1),
        ("application/x-ndjson", '{"prompt": "A ball.", "seconds": 2}\n', 1),
        ("text/csv; charset=utf-8", "prompt,seconds\nA ball.,2\nA cube.,2\n", 2),
    ],
)
def test_campaigns_are_submitted_in_every_form(
    client: TestClient, kind: str, text: str, films: int
) -> None:
    answer = post(client, text, kind, name="mine")
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert answer.headers["location"] == f"/api/v1/campaigns/{found['id']}"
    assert found["film_counts"] == {"queued": films}
    location = f"{answer.headers['location']}?notices=true"
    assert client.get(location).json() == found


def test_a_dry_run_answers_with_plans_and_writes_nothing(client: TestClient) -> None:
    plans = post(client, CAMPAIGN, dry_run=True).json()
    assert [plan["title"] for plan in plans] == ["A red ball", "A blue square"]
    assert plans[0]["frames"] == 16
    assert client.get("/api/v1/campaigns").json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("text", "status", "says", "more"),
    [
        ("films: [{prompt: A ball., colour: red}]", 422, "unknown key 'colour'", {"line": 1}),
        ("films:\n  - prompt: a\n    seed: -1\n", 422, "seed: expected", {"line": 3}),
        ("films: [{prompt: A ball., image: /etc/passwd}]", 422, "film 1 names a picture", {}),
        ("films: [{prompt: A ball., loras: [/etc/passwd]}]", 422, "", {}),
        ("films: [{prompt: A ball., model: /etc}]", 422, "There is no model '/etc'", {}),
        ("", 422, "the file is empty", {}),
        ("- a", 422, "", {}),
    ],
)
def test_what_is_wrong_is_a_problem_document(
    client: TestClient, text: str, status: int, says: str, more: dict[str, Any]
) -> None:
    answer = post(client, text)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert says in found["detail"]
    assert found["instance"] == answer.headers["x-request-id"]
    assert {name: found.get(name) for name in more} == more
    assert client.get("/api/v1/films").json()["items"] == []


def test_other_kinds_of_bodies_are_refused(client: TestClient) -> None:
    assert "content-type: expected one of" in post(client, "x", "image/png").json()["detail"]
    not_text = client.post(
        "/api/v1/campaigns", content=b"\xff\xfe", headers={"content-type": "text/csv"}
    )
    assert "not UTF-8" in not_text.json()["detail"]


def test_a_campaign_is_steered(client: TestClient, campaign: str) -> None:
    url = f"/api/v1/campaigns/{campaign}"
    assert client.patch(url, json={"paused": True}).json()["film_counts"] == {"paused": 2}
    found = client.patch(url, json={"paused": False, "priority": -3}).json()
    assert (found["priority"], found["film_counts"]) == (-3, {"queued": 2})
    assert len(client.post(f"{url}/cancel").json()["cancelled"]) == 2
    assert client.post(f"{url}/requeue", params={"failed": True}).json() == {"queued": []}
    assert len(client.post(f"{url}/requeue").json()["queued"]) == 2
    assert "not finished" in client.delete(url).json()["detail"]
    client.post(f"{url}/cancel")
    assert len(client.delete(url).json()["film_ids"]) == 2
    assert client.get(url).status_code == 404
    for wrong in ({"priority": "much"}, {"speed": 1}, {"priority": 2**40}):
        answer = client.patch(url, json=wrong)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"


def test_films_are_listed_in_pages_and_filtered(client: TestClient, campaign: str) -> None:
    post(client, "name: other\nfilms: [{prompt: A green ball., seconds: 2}]\n")

    def titles(**query: Any) -> list[str]:
        found, more = [], dict(query, limit=1)
        while True:
            page = client.get("/api/v1/films", params=more).json()
            found += [film["title"] for film in page["items"]]
            if page["next"] is None:
                return found
            more["after"] = page["next"]

    assert titles() == ["A green ball", "A red ball", "A blue square"]
    assert titles(campaign=campaign) == ["A red ball", "A blue square"]
    assert titles(text="BALL") == ["A green ball", "A red ball"]
    assert titles(status="waiting") == titles()
    assert titles(status="queued,rendering") == []
    wrong = client.get("/api/v1/films", params={"status": "done"})
    assert "there is no status 'done'" in wrong.json()["detail"]
    assert client.get("/api/v1/films", params={"limit": "0"}).status_code == 422


def test_a_film_is_shown_in_all_its_parts(client: TestClient, rows: Rows, campaign: str) -> None:
    film = f"/api/v1/films/{campaign}-1"
    assert client.get(film).json()["status"] == "waiting"
    assert client.get(f"{film}/plan").json()["frames"] == 16
    assert client.get(f"{film}/segments").json()["items"][0]["status"] == "ready"
    assert client.get(f"{film}/events").json()["items"][0]["kind"] == "queued"
    assert client.get(f"{film}/delivery").status_code == 404
    assert client.get(f"{film}/content").status_code == 404
    rows.render_all()
    rows.deliver()
    assert client.get(f"{film}/delivery").json()["num_frames"] == 41
    again = client.post(f"{film}/retake", json={"seeds": {"1": 9}})
    assert again.status_code == 201
    assert client.get(again.headers["location"]).json()["title"] == "A red ball"
    assert "no scene 2" in client.post(f"{film}/retake", json={"seeds": {"2": 9}}).json()["detail"]
    assert client.post(f"{film}/retake", json={"seeds": {}}).status_code == 422
    assert client.delete(film).json()["film_ids"] == [f"{campaign}-1"]
    for part in ("", "/plan", "/segments", "/events", "/delivery", "/content"):
        assert client.get(film + part).status_code == 404


def test_the_films_of_a_campaign_are_one_zip_file(
    client: TestClient, rows: Rows, small_farm: Farm, campaign: str, tmp_path: Path
) -> None:
    url = f"/api/v1/campaigns/{campaign}/content"
    assert "is delivered yet" in client.get(url).json()["detail"]
    rows.render_all()
    files = [bytes([number]) * (3 << 20) for number in (1, 2)]
    for number, data in enumerate(files):
        (tmp_path / "film.mp4").write_bytes(data)
        key = keys.film_video(f"{number}" * 64)
        info = small_farm.store.put_file(key, tmp_path / "film.mp4")
        film = rows.claim_film()
        delivery = DELIVERY.replace(key=key, sha256=info.sha256 or "")
        assert rows.write(film_lease.finish, film, delivery)
    answer = client.get(url)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert [archive.read(name) for name in names] == files
    assert names[0].startswith(f"{campaign}-1-a-red-ball-seed")
    assert client.get("/api/v1/campaigns/none/content").status_code == 404


def test_workers_are_listed_and_commanded(client: TestClient, rows: Rows) -> None:
    worker = Registration(
        name="gpu-1",
        owner="o",
        host="h",
        device="cpu",
        models=("demo",),
        tags=(),
        quiet=None,
        lease_seconds=60.0,
    )
    rows.write(registry.register, worker)
    (found,) = client.get("/api/v1/workers").json()["items"]
    assert (found["name"], found["state"], found["command"]) == ("gpu-1", "idle", None)
    assert client.post("/api/v1/workers/gpu-1/drain").json()["command"] == "drain"
    assert client.post("/api/v1/workers/gpu-1/stop").json()["command"] == "stop"
    assert client.post("/api/v1/workers/gpu-1/resume").json()["command"] is None
    assert client.post("/api/v1/workers/none/drain").status_code == 404
    assert "demo" in [model["name"] for model in client.get("/api/v1/models").json()["items"]]


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_a_database_that_is_away_is_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from db.engine import Database

    def away(self: Database) -> None:
        raise DatabaseError("The database does not answer.")

    monkeypatch.setattr(Database, "read", away)
    answer = client.get("/api/v1/films")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == "The database does not answer."
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/videos").json()["error"]["type"] == "server_error"


def test_a_fault_of_ours_is_a_sentence_and_in_the_log(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("db.films.campaigns.newest", lambda *_, **__: 1 / 0)
    answer = client.get("/api/v1/campaigns", headers={"x-request-id": "mine-1"})
    assert answer.status_code == 500
    assert "mine-1" in answer.json()["detail"]
    assert "ZeroDivisionError" in caplog.text


def test_the_document_describes_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {"/api/v1/campaigns", "/api/v1/films/{film_id}", "/v1/videos"} <= document[
        "paths"
    ].keys()
    film = document["components"]["schemas"]["FilmRow"]
    assert film["properties"]["seconds_left"]["anyOf"] == [{"type": "number"}, {"type": "null"}]


HEAVY = """
import sys, app.api.application
print(sorted({"torch", "diffusers", "prefect"} & {n.partition(".")[0] for n in sys.modules}))
"""


def test_the_service_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_refused_film_has_its_reason(client: TestClient) -> None:
    text = "films:\n  - prompt: a\n    seed: -1\n  - A ball.\n  - prompt: b\n    colour: red\n"
    found = post(client, text).json()
    assert [(each["item"], each["line"], each.get("field")) for each in found["errors"]] == [
        (1, 3, "seed"),
        (3, 6, None),
    ]
    assert (found["line"], found["field"]) == (3, "seed")
    found = post(client, "prompt,seconds\na,2\nb,99999\nc,88888\n", "text/csv").json()
    assert [each["item"] for each in found["errors"]] == [2, 3]
    assert client.get("/api/v1/films").json()["items"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/films",
        "/films/{}-1",
        "/films/{}-1/details",
        "/films/{}-1/events",
        "/campaigns",
        "/campaigns/{}",
        "/campaigns/{}/details",
        "/campaigns/{}/events",
        "/campaigns/{}/deliveries",
        "/models",
    ],
)
def test_what_did_not_change_is_not_sent_again(
    client: TestClient, campaign: str, path: str
) -> None:
    url = f"/api/v1{path.format(campaign)}"
    first = client.get(url)
    tag = first.headers["etag"]
    for known in (tag, f'"x", {tag}', tag.removeprefix("W/")):
        again = client.get(url, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(url, headers={"if-none-match": '"x"'}).content == first.content
    if path == "/models":
        return
    client.post(f"/api/v1/campaigns/{campaign}/cancel")
    changed = client.get(url, headers={"if-none-match": tag}).status_code
    assert changed == 200


def test_workers_that_do_nothing_new_are_not_sent_again(client: TestClient, rows: Rows) -> None:
    worker = Registration(
        name="gpu-1",
        owner="o",
        host="h",
        device="cpu",
        models=("demo",),
        tags=(),
        quiet=None,
        lease_seconds=60.0,
    )
    rows.write(registry.register, worker)
    tag = client.get("/api/v1/workers").headers["etag"]
    known = {"if-none-match": tag}
    assert client.get("/api/v1/workers", headers=known).status_code == 304
    client.post("/api/v1/workers/gpu-1/drain")
    assert client.get("/api/v1/workers", headers=known).status_code == 200


def test_films_and_campaigns_of_a_time_are_listed(client: TestClient, campaign: str) -> None:
    for path in ("/api/v1/films", "/api/v1/campaigns"):

        def count(path: str = path, **query: str) -> int:
            return len(client.get(path, params=query).json()["items"])

        every = count()
        assert count(since="1h") == count(until="2999-01-01") == every > 0
        assert count(until="1h") == count(since="2999-01-01") == 0
        wrong = client.get(path, params={"since": "yesterday"})
        assert wrong.status_code == 422
        assert wrong.json()["field"] == "since"


def test_the_deadline_and_the_limit_of_a_campaign_are_changed(
    client: TestClient, campaign: str
) -> None:
    url = f"/api/v1/campaigns/{campaign}"
    found = client.patch(url, json={"deadline": 2e9, "max_workers": 3}).json()
    assert (found["deadline"], found["max_workers"], found["priority"]) == (2e9, 3, 2)
    found = client.patch(url, json={"deadline": "2033-05-18T03:33:20Z", "priority": None}).json()
    assert (found["deadline"], found["max_workers"], found["priority"]) == (2e9, 3, 2)
    found = client.patch(url, json={"deadline": None, "max_workers": None}).json()
    assert (found["deadline"], found["max_workers"]) == (None, None)
    assert client.patch(url, json={}).json()["changed"] is False
    for wrong in ({"deadline": "soon"}, {"deadline": -1}, {"max_workers": 0}, {"max_workers": 1.5}):
        assert client.patch(url, json=wrong).status_code == 422, wrong


TITLES = """\
name: "a/b\\r\\n: é"
films: [{prompt: x, title: "海 / \\"..\\"\\r\\nSet-Cookie: a=b", seconds: 2}]
"""


def test_file_names_are_safe_in_headers_and_archives(
    client: TestClient, rows: Rows, small_farm: Farm, tmp_path: Path
) -> None:
    name = post(client, TITLES).json()["id"]
    rows.render_all()
    (tmp_path / "film.mp4").write_bytes(b"0123456789")
    info = small_farm.store.put_file(keys.film_video("1" * 64), tmp_path / "film.mp4")
    delivery = DELIVERY.replace(key=info.key, sha256=info.sha256 or "")
    assert rows.write(film_lease.finish, rows.claim_film(), delivery)
    answer = client.get(f"/api/v1/films/{name}-1/content", headers={"range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")
    assert answer.headers["etag"] == f'"{info.sha256}"'
    found = answer.headers["content-disposition"]
    assert found.startswith(f'attachment; filename="{name}-1-_-set-cookie-a-b')
    assert f"filename*=UTF-8''{name}-1-%E6%B5%B7-set-cookie-a-b" in found
    assert "set-cookie" not in answer.headers
    whole = client.get(
        f"/api/v1/films/{name}-1/content", headers={"range": "bytes=2-4", "if-range": '"other"'}
    )
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    url = f"/api/v1/campaigns/{name}/content"
    answer = client.get(url, params={"names": "{name}/{number:03}-{title}"})
    assert "%C3%A9.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["a-b-é/001-海-set-cookie-a-b.mp4"]
    wrong = client.get(url, params={"names": "../{title}"})
    assert "cannot be used" in wrong.json()["detail"]
    small_farm.store.delete(info.key)
    gone = client.get(f"/api/v1/films/{name}-1/content")
    assert (gone.status_code, "is missing from the store" in gone.json()["detail"]) == (500, True)
    assert client.post(f"/api/v1/films/{name}-1/requeue").json() == {"queued": []}
    again = client.post(f"/api/v1/films/{name}-1/requeue", params={"check": True})
    assert again.json() == {"queued": [f"{name}-1"]}


def test_a_folder_as_store_has_no_links(client: TestClient, campaign: str, rows: Rows) -> None:
    url = f"/api/v1/films/{campaign}-1/link"
    assert "it has no file" in client.get(url).json()["detail"]
    rows.render_all()
    rows.deliver()
    assert "there are no links to its films" in client.get(url).json()["detail"]
    assert client.get("/api/v1/films/none-1/link").status_code == 404


def test_the_dashboard_of_one_machine_is_not_named(client: TestClient) -> None:
    answer = client.get("/api/v1/dashboard")
    assert (answer.status_code, "on its own machine only" in answer.json()["detail"]) == (422, True)


def test_numbers_that_no_database_holds_are_taken_as_the_largest(
    client: TestClient, campaign: str
) -> None:
    for number in (2**62, 10**30, -(10**30)):
        answer = client.get(f"/api/v1/films/{campaign}-1/events", params={"after": number})
        assert answer.status_code == 200
