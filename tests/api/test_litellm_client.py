"""LiteLLM against a running service, with a worker that renders."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from media.verify import verify_film
from tests.api.test_openai_client import PROMPT, service
from tests.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """LiteLLM, which asks no other server for its list of prices."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    return litellm


def test_a_video_is_made_watched_remixed_and_downloaded(
    served: Installation, tmp_path: Path, litellm: Any
) -> None:
    _, address = service(served)
    served.start("worker")
    here = {"api_base": f"{address}/v1", "api_key": "none"}
    openai = {"custom_llm_provider": "openai", **here}
    asked = litellm.video_generation(
        model="openai/demo",
        prompt=PROMPT,
        seconds="2",
        size="96x64",
        extra_body={"num_inference_steps": 2, "seed": 7},
        **here,
    )
    assert (asked.status, asked.seconds, asked.size) == ("queued", "2", "96x64")
    until = time.monotonic() + 120
    while (video := litellm.video_status(video_id=asked.id, **openai)).status != "completed":
        assert video.status in ("queued", "in_progress")
        assert time.monotonic() < until
        time.sleep(0.2)
    path = tmp_path / "film.mp4"
    path.write_bytes(litellm.video_content(video_id=asked.id, **openai))
    verify_film(path, num_frames=16, width=96, height=64, fps=Fraction(8))
    remix = litellm.video_remix(video_id=asked.id, prompt="A blue cube on sand.", **openai)
    assert remix.remixed_from_video_id.startswith("video_")
    listed = litellm.video_list(limit=1, **openai)
    assert len(listed["data"]) == 1
    assert listed["has_more"]
    with pytest.raises(litellm.BadRequestError, match="size: expected WIDTHxHEIGHT"):
        litellm.video_generation(model="openai/demo", prompt=PROMPT, size="big", **here)
