"""Requests as other programs send them, byte for byte or field by field."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from starlette.testclient import TestClient

from db.films import films
from film.types import FilmRequest, Lora
from tests.db.farm import Farm as Rows

MULTIPART = "multipart/form-data; boundary=XX"
PROMPT = "A red ball rolls."


def multipart(*fields: tuple[str, str]) -> bytes:
    """A form of text fields as httpx writes it."""
    parts = [
        f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    return ("".join(parts) + "--XX--\r\n").encode()


def request_of(rows: Rows, answer: Any) -> FilmRequest:
    """The film that an answer is about."""
    assert answer.status_code == 200, answer.text
    found: FilmRequest = rows.read(films.get, answer.json()["id"].removeprefix("video_")).request
    return found


@pytest.fixture
def lora(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The digest of the only LoRA of a hub."""
    path = tmp_path / "style.safetensors"
    ones = np.ones((2, 2), np.float32)
    save_file({"a.lora_A.weight": ones, "a.lora_B.weight": ones}, path)
    monkeypatch.setattr(
        "renderer.weights.hub.fetch_file", lambda what, place: ("style.safetensors", path)
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_form_of_vllm_omni(client: TestClient, rows: Rows, lora: str) -> None:
    body = multipart(
        ("prompt", PROMPT),
        ("model", "demo"),
        ("seconds", "6"),
        ("width", "192"),
        ("height", "128"),
        ("fps", "8"),
        ("num_inference_steps", "3"),
        ("guidance_scale", "5.0"),
        ("guidance_scale_2", ""),
        ("negative_prompt", "blur"),
        ("seed", "42"),
        ("enable_frame_interpolation", "false"),
        ("frame_interpolation_exp", "1"),
        ("generate_sound", "false"),
        ("lora", json.dumps({"name": "style", "path": "org/name", "scale": 0.5})),
        ("extra_params", json.dumps({"title": "Ball"})),
    )
    answer = client.post("/v1/videos", content=body, headers={"content-type": MULTIPART})
    request = request_of(rows, answer)
    assert (request.title, request.width, request.height, request.sound) == (
        *("Ball", 192, 128, False),
    )
    settings = request.settings
    assert (settings.seed, settings.num_inference_steps, settings.guidance_scale) == (42, 3, 5)
    assert settings.loras == (Lora(name="org/name/style.safetensors", digest=lora, weight=0.5),)
    assert answer.json()["seconds"] == "6"


def test_the_json_of_sglang(client: TestClient, rows: Rows) -> None:
    body = {
        "prompt": PROMPT,
        "model": "demo",
        "size": "",
        "seconds": 4,
        "n": 1,
        "num_outputs_per_prompt": 1,
        "seed": [7],
        "generator_device": None,
        "negative_prompt": None,
        "enable_upscaling": False,
        "upscaling_scale": 4,
        "extra_params": {"num_inference_steps": 3},
    }
    request = request_of(rows, client.post("/v1/videos", json=body))
    assert (request.settings.seed, request.settings.num_inference_steps) == (7, 3)
    refused = client.post("/v1/videos", json={**body, "enable_upscaling": True}).json()["error"]
    assert (refused["param"], refused["code"]) == ("enable_upscaling", "unsupported_parameter")


def test_the_json_of_openrouter(client: TestClient, rows: Rows) -> None:
    body = {
        "model": "demo",
        "prompt": PROMPT,
        "duration": 5,
        "resolution": "480p",
        "aspect_ratio": "16:9",
        "generate_audio": True,
        "frame_images": [],
        "seed": 3,
    }
    answer = client.post("/v1/videos", json=body)
    request = request_of(rows, answer)
    assert (request.width, request.height, request.settings.seed) == (854, 480, 3)
    assert answer.json()["seconds"] == "5"


def test_the_form_of_litellm(client: TestClient, rows: Rows) -> None:
    body = multipart(
        ("model", "demo"),
        ("prompt", PROMPT),
        ("seconds", "4"),
        ("size", "192x128"),
        ("aspect_ratio", "3:2"),
        ("generate_sound", "true"),
        ("extra_params", '{"seed": 11}'),
    )
    answer = client.post("/v1/videos", content=body, headers={"content-type": MULTIPART})
    assert request_of(rows, answer).settings.seed == 11


def test_lists_of_objects_as_the_official_client_writes_them(
    client: TestClient, rows: Rows, lora: str
) -> None:
    body = multipart(
        ("prompt", PROMPT),
        ("model", "demo"),
        ("loras[][path]", "org/name"),
        ("loras[][scale]", "0.25"),
        ("extra_params[seed]", "9"),
    )
    answer = client.post("/v1/videos", content=body, headers={"content-type": MULTIPART})
    settings = request_of(rows, answer).settings
    assert settings.seed == 9
    assert [(one.digest, one.weight) for one in settings.loras] == [(lora, 0.25)]
    twice = multipart(
        ("prompt", PROMPT),
        ("loras[][path]", "org/name"),
        ("loras[][path]", "org/other"),
        ("loras[][scale]", "0.25"),
    )
    refused = client.post("/v1/videos", content=twice, headers={"content-type": MULTIPART})
    assert refused.json()["error"]["param"] == "loras"


def test_models_as_openrouter_lists_them(client: TestClient) -> None:
    (model,) = client.get("/v1/videos/models").json()["data"]
    assert model["id"] == "demo"
    assert model["supported_sizes"] == ["96x64"]
    assert model["supported_aspect_ratios"] == ["3:2"]
    assert model["supported_frame_images"] == ["first_frame", "last_frame"]
    assert model["generate_audio"] is False
    (same,) = client.get("/v1/models").json()["data"]
    assert same["references"] == ["first_image", "last_image"]
    assert same["max_seconds"] == 3600
