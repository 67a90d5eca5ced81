"""`/v1/videos` on the wire: shapes, dialects, errors, repetition."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.api.openai.create import Asked
from db.films import film_lease, films, user_actions
from db.segments import segment_lease
from flows.farm import Farm
from storage import keys
from tests.db.farm import DELIVERY
from tests.db.farm import Farm as Rows

MP4 = f"data:video/mp4;base64,{base64.b64encode(b'----ftypisom').decode()}"
VIDEO = {"prompt": "A red ball rolls.", "model": "demo", "seconds": "4"}


def made(client: TestClient, **fields: Any) -> dict[str, Any]:
    """The answer to a request for a video, as JSON."""
    answer = client.post("/v1/videos", json={**VIDEO, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def refused(client: TestClient, **fields: Any) -> dict[str, Any]:
    """The error for a request."""
    answer = client.post("/v1/videos", json={**VIDEO, **fields})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error  # type: ignore[no-any-return]


def test_a_video_is_queued_in_the_official_shape(client: TestClient, rows: Rows) -> None:
    answer = client.post("/v1/videos", data=VIDEO)  # a form, as the official client sends it
    video = answer.json()
    assert video["id"].startswith("video_")
    expected = {
        "object": "video",
        "status": "queued",
        "progress": 0,
        "model": "demo",
        "prompt": VIDEO["prompt"],
        "seconds": "4",
        "size": "96x64",
        "completed_at": None,
        "expires_at": None,
        "remixed_from_video_id": None,
        "error": None,
    }
    assert {name: video[name] for name in expected} == expected
    assert isinstance(video["created_at"], int)
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["openai-poll-after-ms"] == "1000"
    again = client.get(f"/v1/videos/{video['id']}")
    assert again.json() == video
    assert rows.statuses(video["id"].removeprefix("video_"))


def test_states_are_those_that_clients_know(client: TestClient, rows: Rows) -> None:
    video = made(client)
    film = video["id"].removeprefix("video_")

    def state() -> tuple[str, Any]:
        found = client.get(f"/v1/videos/{video['id']}").json()
        return found["status"], found["error"]

    lease = rows.claim()
    assert state() == ("in_progress", None)
    rows.write(segment_lease.release, lease)
    rows.write(user_actions.cancel, film)
    cancelled = {"code": "cancelled", "message": "The film was cancelled."}
    assert state() == ("failed", cancelled)
    rows.write(user_actions.requeue, film)
    rows.give_up(rows.claim(), permanent=True)
    flow = rows.claim_film()
    rows.write(film_lease.fail, flow, "Segment 1 failed: no")
    assert state() == ("failed", {"code": "render_failed", "message": "Segment 1 failed: no"})


@pytest.mark.parametrize(
    ("fields", "seconds", "size"),
    [
        ({"seconds": 6}, "6", "96x64"),
        ({"seconds": "2.5"}, "2.5", "96x64"),
        ({"seconds": None, "duration": 3}, "3", "96x64"),
        ({"seconds": None}, "4", "96x64"),
        ({"seconds": None, "num_frames": 81, "fps": 16}, "5.0625", "96x64"),
        ({"size": "192x128"}, "4", "192x128"),
        ({"width": 192, "height": 108}, "4", "192x108"),
        ({"resolution": "128x96"}, "4", "128x96"),
        ({"seconds": "90"}, "90", "96x64"),
        ({"resolution": "480p", "aspect_ratio": "16:9"}, "4", "854x480"),
        ({"resolution": "720p", "aspect_ratio": "9:16"}, "4", "720x1280"),
        ({"resolution": "480p"}, "4", "720x480"),
        ({"aspect_ratio": "1:1"}, "4", "78x78"),
        ({"aspect_ratio": "3:2", "size": "192x128"}, "4", "192x128"),
        ({"num_outputs_per_prompt": "1", "enable_upscaling": "false"}, "4", "96x64"),
        ({"enable_frame_interpolation": False, "frame_interpolation_exp": 1}, "4", "96x64"),
    ],
)
def test_lengths_and_sizes_in_every_dialect(
    client: TestClient, fields: dict[str, Any], seconds: str, size: str
) -> None:
    video = made(client, **fields)
    assert (video["seconds"], video["size"]) == (seconds, size)


@pytest.mark.parametrize(
    "more",
    [
        {"steps": 3, "cfg_scale": 5, "generate_audio": "false", "seed": "7"},
        {"extra_params": '{"num_inference_steps": 3, "guidance_scale": 5, "seed": 7}'},
        {"extra_body": {"num_inference_steps": 3, "guidance": "5.0", "seed": 7}},
    ],
)
def test_options_by_their_other_names(client: TestClient, rows: Rows, more: dict[str, Any]) -> None:
    video = made(client, negative_prompt="blur", **more)
    settings = rows.read(films.get, video["id"].removeprefix("video_")).request.settings
    assert settings.num_inference_steps == 3
    assert settings.guidance_scale == 5
    assert (settings.seed, settings.negative_prompt) == (7, "blur")


def test_fields_of_forms_with_brackets(client: TestClient, rows: Rows) -> None:
    form = {**VIDEO, "extra_params[seed]": "7", "tags[]": "big"}
    video = client.post("/v1/videos", data=form).json()
    request = rows.read(films.get, video["id"].removeprefix("video_")).request
    assert request.settings.seed == 7
    assert request.tags == ("big",)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"prompt": "  "}, "prompt", "a video needs a prompt"),
        ({"prompt": ["a"]}, "prompt", "expected text"),
        ({"prompt": None}, "prompt", "a video needs a prompt"),
        ({"model": "sora-2"}, "model", "There is no model 'sora-2'; the models are: "),
        ({"seconds": "long"}, "seconds", "expected a number"),
        ({"size": "33x33"}, None, "give even sides"),
        ({"size": "9x9"}, None, "give sides from 32 to 1920"),
        ({"width": 64}, "height", "give both width and height"),
        ({"size": "64x64", "width": 64, "height": 32}, "size", "differs from width and height"),
        ({"num_frames": 81, "fps": 16}, "num_frames", "give either seconds or num_frames"),
        ({"seconds": None, "num_frames": 81}, "num_frames", "fps is needed too"),
        ({"seconds": None, "num_frames": 8, "fps": "0"}, "fps", "expected frames a second"),
        ({"seconds": None, "num_frames": True, "fps": 8}, "num_frames", "whole number above 0"),
        ({"seconds": None, "num_frames": 1e30, "fps": 8}, "num_frames", "whole number above 0"),
        ({"n": 2}, "n", "one video for each request"),
        ({"generate_sound": "maybe"}, "generate_sound", "expected true or false"),
        ({"sparkle": 1}, "sparkle", "The field sparkle is not known here; the known ones are: "),
        ({"extra_params": "{"}, "extra_params", "expected an object"),
        ({"extra_params": {"sparkle": 1}}, "sparkle", "is not known here"),
        ({"seed": 1, "extra_params": {"seed": 2}}, "seed", "given twice, with different values"),
        ({"input_reference": "a.png"}, "input_reference", "send one picture as a file"),
        ({"input_reference": "/etc/passwd"}, "input_reference", "send one picture as a file"),
        ({"input_reference": ["data:,", "data:,"]}, "input_reference", "send one picture"),
        ({"input_reference": "http://x/y.png"}, "input_reference", "expected https://"),
        ({"input_reference": {"url": "https://10.0.0.1/"}}, "input_reference", "private network"),
        ({"last_image": "http://127.0.0.1:1/"}, "last_image", "private network"),
        ({"frame_images": "x"}, "frame_images", "expected a list"),
        ({"frame_images": [{"image_url": "x"}]}, "frame_images", "first_frame or last_frame"),
        ({"input_reference": MP4}, "input_reference", "it is a video"),
        ({"model": "demo=/etc/passwd"}, "model", "files of the server cannot be named"),
        ({"model": 7}, "model", "expected text"),
        ({"aspect_ratio": "0:1"}, "aspect_ratio", "expected WIDTH:HEIGHT"),
        ({"aspect_ratio": "wide"}, "aspect_ratio", "expected WIDTH:HEIGHT"),
        ({"aspect_ratio": "16:9", "size": "64x64"}, "aspect_ratio", "differs from size"),
        ({"resolution": "720p", "size": "64x64"}, "resolution", "differs from size"),
        ({"resolution": "sharp"}, "resolution", "expected the shorter side such as 720p"),
        ({"resolution": "9999p"}, None, "give sides from 32 to 1920"),
        ({"loras": "/home/me/a.safetensors"}, "loras", "not a LoRA on the hub"),
        ({"loras": [{"path": "a/b/../../c.safetensors"}]}, "loras", "not a LoRA on the hub"),
        ({"loras": 7}, "loras", "expected objects such as"),
        ({"lora": {"path": "org/name", "scale": 90}}, "loras", "expected a weight from"),
        ({"enable_upscaling": True}, "enable_upscaling", "not supported: films are rendered at"),
        ({"flow_shift": 5.0}, "flow_shift", "not supported: it is fixed for each model"),
        ({"video_reference": {"a": 1}}, "video_reference", "a first and a last picture only"),
        ({"input_reference": "data:,x"}, "input_reference", "expected a data: URL with base64"),
        ({"seconds": "100000"}, None, "LONGREEL_MAX_FILM_SECONDS"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(
    client: TestClient, fields: dict[str, Any], param: str | None, says: str
) -> None:
    error = refused(client, **fields)
    assert error["param"] == param
    assert says in error["message"]
    assert client.get("/v1/videos").json()["data"] == []


def test_bodies_that_are_none_are_refused(client: TestClient) -> None:
    for text in ('{"prompt": "\\ud800"}', '{"\\ud800": 1}', '{"seconds": NaN, "prompt": "a"}'):
        answer = client.post(
            "/v1/videos", content=text, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, text
    for body, kind in ((b"{", "application/json"), (b"[]", "application/json")):
        answer = client.post("/v1/videos", content=body, headers={"content-type": kind})
        assert answer.status_code == 400
        assert "The body is" in answer.json()["error"]["message"]
    twice = client.post(
        "/v1/videos",
        content=b"prompt=a&prompt=b",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert twice.json()["error"]["message"] == "The field prompt is given twice."
    large = client.post("/v1/videos", content=b"", headers={"content-length": str(10**9)})
    assert large.status_code == 413
    assert large.json()["error"]["message"] == "The body is larger than 16 MiB."


def picture() -> bytes:
    """A red PNG."""
    file = io.BytesIO()
    Image.new("RGB", (96, 64), (200, 10, 10)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pictures() -> Iterator[str]:
    """The address of a server with files that say they are pictures."""
    bomb = io.BytesIO()
    Image.new("1", (20000, 20000)).save(bomb, "PNG")
    files = {"/a.png": picture(), "/bomb.png": bomb.getvalue(), "/text.png": b"text"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in files else 404)
            self.send_header("content-type", "image/png")
            self.end_headers()
            self.wfile.write(files.get(self.path, b""))

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def open_networks(farm: Farm) -> None:
    """Lets the service ask this machine."""
    farm.settings = farm.settings.model_copy(update={"allowed_networks": "127.0.0.0/8"})


def test_a_picture_comes_as_a_file_or_in_the_body(
    client: TestClient, rows: Rows, small_farm: Farm
) -> None:
    upload = client.post(
        "/v1/videos", data=VIDEO, files={"input_reference": ("a.png", picture(), "image/png")}
    )
    url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    inline = made(client, input_reference={"image_url": url})
    requests = [
        rows.read(films.get, video["id"].removeprefix("video_")).request
        for video in (upload.json(), inline)
    ]
    assert requests[0].image == requests[1].image
    assert small_farm.store.head(keys.image(requests[0].image)) is not None
    wrong = client.post(
        "/v1/videos", data=VIDEO, files={"input_reference": ("a.png", b"text", "image/png")}
    )
    assert wrong.status_code == 400
    error = wrong.json()["error"]
    assert error["message"].startswith("input_reference: the picture cannot be read as a picture")
    assert error["param"] == "input_reference"
    assert "/tmp" not in error["message"]


def test_pictures_by_the_names_that_other_servers_give_them(client: TestClient, rows: Rows) -> None:
    url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    frames = [{"type": "image_url", "image_url": {"url": url}, "frame_type": "first_frame"}]
    for fields in (
        {"frame_images": frames},
        {"frame_images": json.dumps(frames)},
        {"frame_images": [{"image_url": url, "frame_type": "first_frame"}]},
        {"image_reference": json.dumps({"image_url": url})},
        {"reference_url": url},
        {"extra_params": {"image": url}},
        {"input_reference": [{"image_url": {"url": url}}]},
    ):
        video = made(client, **fields)
        request = rows.read(films.get, video["id"].removeprefix("video_")).request
        assert len(request.image) == 64, fields
        assert request.last_image == ""
    form = {**VIDEO, "frame_images[][image_url]": url, "frame_images[][frame_type]": "first_frame"}
    assert client.post("/v1/videos", data=form).status_code == 200


def test_a_picture_is_fetched_from_an_address(
    client: TestClient, rows: Rows, small_farm: Farm, pictures: str
) -> None:
    closed = refused(client, input_reference={"image_url": f"{pictures}/a.png"})
    assert "LONGREEL_ALLOWED_NETWORKS" in closed["message"]
    open_networks(small_farm)
    video = made(client, input_reference={"image_url": f"{pictures}/a.png"})
    assert len(rows.read(films.get, video["id"].removeprefix("video_")).request.image) == 64
    large = refused(client, input_reference=f"{pictures}/bomb.png")
    assert "the picture is too large: it has far more pixels" in large["message"]
    text = refused(client, input_reference=f"{pictures}/text.png")
    assert "the picture cannot be read as a picture" in text["message"]
    assert {text["param"], large["param"]} == {"input_reference"}
    missing = refused(client, input_reference=f"{pictures}/none.png")
    assert "answered with the status 404" in missing["message"]
    assert len(client.get("/v1/videos").json()["data"]) == 1


def test_only_a_few_requests_wait_for_pictures(
    client: TestClient, small_farm: Farm, pictures: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_networks(small_farm)
    monkeypatch.setattr("app.api.openai.pictures._FETCHES", threading.BoundedSemaphore(1))
    for _ in range(2):  # each gives its place back, whatever comes of it
        assert "404" in refused(client, input_reference=f"{pictures}/none.png")["message"]
    monkeypatch.setattr("app.api.openai.pictures._FETCHES", threading.Semaphore(0))
    body = {**VIDEO, "input_reference": f"{pictures}/a.png"}
    busy = client.post("/v1/videos", json=body)
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_unknown_fields_are_ignored_aloud_if_the_operator_wishes(
    client: TestClient, small_farm: Farm
) -> None:
    small_farm.settings = small_farm.settings.model_copy(update={"lenient_fields": True})
    video = made(client, sparkle=1, extra_params={"glow\x1b[2J": 2})
    assert video["notices"][:2] == [
        "The field sparkle is not known here and was ignored.",
        "The field glow?[2J is not known here and was ignored.",
    ]
    assert refused(client, enable_upscaling=True)["param"] == "enable_upscaling"
    remix = client.post(f"/v1/videos/{video['id']}/remix", json={"prompt": "Snow.", "glow": 1})
    assert remix.json()["notices"][0] == "The field glow is not known here and was ignored."


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b", "input_reference/../../evil", "."])
def test_the_name_of_a_field_is_no_place_for_its_file(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(uploads))
    answer = client.post("/v1/videos", data=VIDEO, files={name: ("a.png", picture(), "image/png")})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unknown_parameter"
    home = tmp_path / "home"  # of the database
    written = [path for path in tmp_path.rglob("*") if not path.is_relative_to(home)]
    assert written == [uploads]
    assert not Path("/evil-0").exists()


def test_a_request_that_is_sent_again_makes_one_video(client: TestClient) -> None:
    first = client.post("/v1/videos", data=VIDEO).json()
    other = client.post("/v1/videos", data=VIDEO).json()
    assert first["id"] != other["id"], "two requests are two videos"
    again = client.post("/v1/videos", data=VIDEO, headers={"x-stainless-retry-count": "1"}).json()
    assert again["id"] == other["id"]
    key = {"idempotency-key": "k-1"}
    keyed = client.post("/v1/videos", json=VIDEO, headers=key).json()
    assert client.post("/v1/videos", json=VIDEO, headers=key).json()["id"] == keyed["id"]
    conflict = client.post("/v1/videos", json={**VIDEO, "seconds": "5"}, headers=key)
    assert conflict.status_code == 409
    assert conflict.headers["x-should-retry"] == "false"
    assert conflict.json()["error"]["code"] == "idempotency_conflict"
    assert len(client.get("/v1/videos").json()["data"]) == 3


def test_pages_lead_through_all_videos_both_ways(client: TestClient) -> None:
    ids = [made(client, seed=number)["id"] for number in range(5)]
    for order, expected in (("desc", ids[::-1]), ("asc", ids)):
        found: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = client.get("/v1/videos", params={"limit": 2, "order": order, **after}).json()
            assert page["object"] == "list"
            assert page["first_id"] == page["data"][0]["id"]
            assert page["last_id"] == page["data"][-1]["id"]
            found += [video["id"] for video in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert found == expected
    empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert client.get("/v1/videos", params={"after": ids[0]}).json() == empty
    for wrong in ({"limit": "0"}, {"limit": "x"}, {"order": "up"}):
        assert client.get("/v1/videos", params=wrong).status_code == 400
    assert client.get("/v1/videos", params={"after": "video_none"}).status_code == 404


def test_what_is_not_there_is_not_found(client: TestClient) -> None:
    for method, path in (
        ("GET", "/v1/videos/video_none"),
        ("DELETE", "/v1/videos/video_none"),
        ("GET", "/v1/videos/video_none/content"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/models/none"),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 404, path
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    remix = client.post("/v1/videos/video_none/remix", json={"prompt": "A ball."})
    assert remix.status_code == 404


def test_a_video_is_deleted_whatever_it_is_doing(client: TestClient) -> None:
    video = made(client)["id"]
    deleted = client.delete(f"/v1/videos/{video}").json()
    assert deleted == {"id": video, "object": "video.deleted", "deleted": True}
    assert client.get(f"/v1/videos/{video}").status_code == 404


def deliver(small_farm: Farm, rows: Rows, content: bytes) -> None:
    """Renders what there is, and delivers the next film with this file."""
    rows.render_all()
    film = rows.claim_film()
    path = small_farm.scratch.open() / "film.mp4"
    path.write_bytes(content)
    info = small_farm.store.put_file(keys.film_video("ab" * 32), path)
    delivery = DELIVERY.replace(key=info.key, sha256=info.sha256 or "", size_bytes=info.size_bytes)
    assert rows.write(film_lease.finish, film, delivery)


def found_segments(rows: Rows, video: str) -> int:
    """Number of segments of a video; each takes 1.5 s in tests."""
    return len(rows.statuses(video.removeprefix("video_")))


def test_what_another_film_had_already_costs_nothing(client: TestClient, rows: Rows) -> None:
    first = made(client, seed=7)
    rows.render_all()
    again = made(client, seed=7)
    rows.deliver()
    rows.deliver()
    costs = [
        client.get(f"/v1/videos/{video['id']}").json()["inference_time_s"]
        for video in (first, again)
    ]
    assert costs == [pytest.approx(1.5 * found_segments(rows, first["id"])), None]


def test_a_finished_video_is_downloaded_whole_or_in_part(
    client: TestClient, rows: Rows, small_farm: Farm
) -> None:
    video = made(client)["id"]
    early = client.get(f"/v1/videos/{video}/content")
    assert early.status_code == 404
    assert "is queued; ask again later." in early.json()["error"]["message"]
    deliver(small_farm, rows, b"0123456789")
    found = client.get(f"/v1/videos/{video}").json()
    assert (found["status"], found["progress"]) == ("completed", 100)
    assert isinstance(found["completed_at"], int)
    assert found["file_name"].endswith("-96x64.mp4")
    assert found["inference_time_s"] == pytest.approx(1.5 * found_segments(rows, video))
    assert found["peak_memory_mb"] is None
    whole = client.get(f"/v1/videos/{video}/content", headers={"accept": "application/binary"})
    assert whole.content == b"0123456789"
    assert whole.headers["content-type"] == "video/mp4"
    assert "a-red-ball-rolls-seed" in whole.headers["content-disposition"]
    part = client.get(f"/v1/videos/{video}/content", headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["etag"] == whole.headers["etag"]
    wrong = client.get(f"/v1/videos/{video}/content", params={"variant": "poster"})
    assert wrong.json()["error"]["param"] == "variant"


def test_a_remix_is_the_same_film_with_another_prompt(client: TestClient, rows: Rows) -> None:
    first = made(client, seconds="6", size="128x96")
    remix = client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "A blue cube."}).json()
    assert remix["remixed_from_video_id"] == first["id"]
    assert (remix["prompt"], remix["seconds"], remix["size"]) == ("A blue cube.", "6", "128x96")
    assert remix["seed"] == first["seed"]
    edit = client.post("/v1/videos/edits", json={"prompt": "Snow.", "video": {"id": first["id"]}})
    assert edit.json()["remixed_from_video_id"] == first["id"]
    for body in ({"prompt": ""}, {}):
        answer = client.post(f"/v1/videos/{first['id']}/remix", json=body)
        assert answer.json()["error"]["param"] == "prompt"
    unknown = client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "Snow.", "size": "9"})
    assert unknown.json()["error"]["param"] == "size"
    nothing = client.post("/v1/videos/edits", json={"prompt": "Snow."})
    assert nothing.json()["error"]["param"] == "video"


def test_an_extension_renders_only_what_is_new(client: TestClient, rows: Rows) -> None:
    first = made(client, seconds="4")
    count = rows.render_all()
    longer = client.post(
        "/v1/videos/extensions",
        data={"prompt": "The ball stops.", "seconds": "2", "video[id]": first["id"]},
    ).json()
    assert longer["seconds"] == "6"
    statuses = rows.statuses(longer["id"].removeprefix("video_"))
    assert statuses[:count] == ["done"] * count
    assert "done" not in statuses[count:]


def test_models_are_those_that_can_render_now(client: TestClient) -> None:
    found = client.get("/v1/models").json()
    assert found["object"] == "list"
    (demo,) = found["data"]
    assert (demo["id"], demo["object"], demo["sizes"]) == ("demo", "model", ["96x64"])
    assert client.get("/v1/models/demo").json() == demo


def test_the_same_request_at_once_is_one_video(client: TestClient) -> None:
    headers = {"idempotency-key": "once"}

    def ask(_: int) -> str:
        body = {"prompt": "A red ball.", "seconds": "2"}
        answer = client.post("/v1/videos", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(ask, range(6)))
    assert len(made) == 1
    assert len(client.get("/v1/videos").json()["data"]) == 1


def test_pictures_are_known_again_by_what_is_in_them(tmp_path: Path) -> None:
    def asked(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        fields = {"a": {"image_url": path}, "b": [path], "c": path}
        return Asked("/v1/videos", fields, None, repeated=False).digest

    assert asked("1", b"x") == asked("2", b"x") != asked("3", b"y")
