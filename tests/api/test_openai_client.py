"""The official client against a running service, with a worker that renders."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from media.verify import verify_film
from tests.conftest import Installation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PROMPT = "A red ball rolls to the right over green grass."
Started = Callable[..., "subprocess.Popen[str]"]


def service(served: Installation) -> tuple[subprocess.Popen[str], str]:
    """A running service, and its address."""
    process = served.start("serve", "--port", "0")
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"The service is at (http://\S+) ", line):
            return process, found[1]
    raise AssertionError("The service did not start.")


def client_of(address: str) -> openai.OpenAI:
    """The official client."""
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", timeout=60)


def create(client: openai.OpenAI, **fields: Any) -> Any:
    """A request as users write it. Its types know OpenAI's models only."""
    fields = {"model": "demo", "prompt": PROMPT, "seconds": "4", **fields}
    extra = {"num_inference_steps": 2, **fields.pop("extra_body", {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return client.videos.create(**fields, extra_body=extra)


def test_a_video_is_made_watched_and_downloaded(served: Installation, tmp_path: Path) -> None:
    _, address = service(served)
    served.start("worker")
    client = client_of(address)
    asked = create(client)
    video = client.videos.poll(asked.id)
    assert (video.status, video.progress, video.seconds, video.size) == (
        *("completed", 100, "4", "96x64"),
    )
    assert video.completed_at
    film = tmp_path / "film.mp4"
    client.videos.download_content(video.id).write_to_file(film)
    verify_film(film, num_frames=32, width=96, height=64, fps=Fraction(8))
    for variant, form, size in (
        ("thumbnail", "WEBP", (96, 64)),
        ("spritesheet", "JPEG", (480, 256)),
    ):
        path = tmp_path / variant
        client.videos.download_content(video.id, variant=variant).write_to_file(path)  # type: ignore[arg-type]
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == (form, size)
    remix = client.videos.remix(video.id, prompt="A blue square grows on sand.")
    assert remix.remixed_from_video_id == video.id
    assert [listed.id for listed in client.videos.list(limit=1)] == [remix.id, video.id]
    assert client.videos.delete(remix.id).deleted
    assert [listed.id for listed in client.videos.list()] == [video.id]
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.retrieve(remix.id)
    assert missing.value.request_id
    assert missing.value.code == "not_found"
    assert [model.id for model in client.models.list()] == ["demo"]


def test_a_picture_is_sent_and_a_wrong_field_is_named(served: Installation, tmp_path: Path) -> None:
    _, address = service(served)
    client = client_of(address)
    picture = tmp_path / "first.png"
    Image.new("RGB", (96, 64), (200, 10, 10)).save(picture)
    asked = create(client, input_reference=picture)
    shown = served.json("show", asked.id.removeprefix("video_"))
    assert len(shown["request"]["image"]) == 64
    ada = client.videos.create_character(name="Ada", video=picture)
    assert ada.id
    assert client.videos.get_character(ada.id).name == "Ada"
    shows = create(client, extra_body={"characters": [{"id": ada.id}]})
    same = served.json("show", shows.id.removeprefix("video_"))
    assert same["request"]["image"] == shown["request"]["image"]
    with pytest.raises(openai.BadRequestError) as wrong:
        create(client, size="big")
    assert wrong.value.param == "size"
    with pytest.raises(openai.BadRequestError) as unknown:
        create(client, model="sora-2")
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")


def test_a_video_outlives_the_service_and_the_worker(served: Installation, tmp_path: Path) -> None:
    running, address = service(served)
    worker = served.start("worker")
    client = client_of(address)
    asked = create(client, seconds="16")
    while client.videos.retrieve(asked.id).status == "queued":
        pass
    for process in (running, worker):
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, address = service(served)
    served.start("worker")
    client = client_of(address)
    assert client.videos.poll(asked.id).status == "completed"
    film = tmp_path / "film.mp4"
    client.videos.download_content(asked.id).write_to_file(film)
    verify_film(film, num_frames=128, width=96, height=64, fps=Fraction(8))


def test_a_batch_is_uploaded_rendered_and_its_results_read(
    served: Installation, tmp_path: Path
) -> None:
    _, address = service(served)
    served.start("worker")
    client = client_of(address)
    picture = tmp_path / "first.png"
    Image.new("RGB", (96, 64), (200, 10, 10)).save(picture)
    first = client.files.create(file=picture, purpose="vision")
    body = {"prompt": PROMPT, "model": "demo", "seconds": "2", "num_inference_steps": 2}
    bodies = [body, {**body, "input_reference": {"file_id": first.id}}]
    lines = [
        json.dumps({"custom_id": f"n{n}", "method": "POST", "url": "/v1/videos", "body": one})
        for n, one in enumerate(bodies)
    ]
    path = tmp_path / "films.jsonl"
    path.write_text("\n".join(lines))
    file = client.files.create(file=path, purpose="batch")
    assert [one.id for one in client.files.list(limit=1)] == [file.id, first.id]
    endpoint: Any = "/v1/videos"
    batch = client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"a": "b"}
    )
    while (found := client.batches.retrieve(batch.id)).status in ("validating", "in_progress"):
        time.sleep(0.2)
    assert found.status == "completed"
    assert found.request_counts is not None
    assert (found.request_counts.completed, found.request_counts.total) == (2, 2)
    assert found.output_file_id
    content = client.files.content(found.output_file_id).text
    results = [json.loads(line) for line in content.splitlines()]
    assert [result["custom_id"] for result in results] == ["n0", "n1"]
    video = results[0]["response"]["body"]["id"]
    client.videos.download_content(video).write_to_file(tmp_path / "film.mp4")
    verify_film(tmp_path / "film.mp4", num_frames=16, width=96, height=64, fps=Fraction(8))
    assert client.files.content(file.id).text == path.read_text()
    assert client.files.delete(file.id).deleted
    assert [one.id for one in client.batches.list()] == [batch.id]
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    path.write_text(lines[0].replace("demo", "sora-2"))
    wrong = client.files.create(file=path, purpose="batch")
    refused = client.batches.create(
        input_file_id=wrong.id, endpoint=endpoint, completion_window="24h"
    )
    while (found := client.batches.retrieve(refused.id)).status == "validating":
        time.sleep(0.1)
    assert found.status == "failed"
    assert found.errors is not None
    assert found.errors.data is not None
    (reason,) = found.errors.data
    assert (reason.line, reason.param, reason.code) == (1, "model", "model_not_found")
