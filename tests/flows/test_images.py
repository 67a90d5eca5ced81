"""Pictures that films begin with, on their way through the store."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.conftest import Installation
from tests.flows.test_workers import submit

pytestmark = pytest.mark.slow


def test_a_picture_that_is_gone_from_the_store_ends_the_film_in_a_sentence(
    served: Installation,
) -> None:
    Image.new("RGB", (96, 64), "green").save(served.home / "first.png")
    text = '{"prompt": "A red ball.", "seconds": 2, "steps": 2, "image": "first.png"}'
    (film,) = submit(served, text)
    (picture,) = (served.home / "store" / "images").rglob("*.png")
    picture.unlink()
    served.run("worker", "--until-idle")
    shown = served.json("show", film)
    assert shown["status"] == "failed"
    assert "is missing from the store, or damaged: submit the film again" in shown["error"]

    (again,) = submit(served, text)
    assert served.run("worker", "--until-idle").returncode == 0
    assert served.json("show", again)["status"] == "delivered"
