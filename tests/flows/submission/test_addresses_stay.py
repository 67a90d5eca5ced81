"""The takes of examples/campaign.yaml keep their addresses, so that nothing renders again."""

from __future__ import annotations

from pathlib import Path

from film.families.lookup import find_model
from film.plan import plan_film
from film.reading.campaign import read_campaign
from flows.model_catalog.resolve_name import naming
from renderer.weights import weight_store

CAMPAIGN = Path(__file__).parents[3] / "examples" / "campaign.yaml"
BALL = "A purple ball moves to the left over grey road…"
ADDRESSES = {
    "Two scenes from a prompt": [
        "cc019331b0e5210b",
        "5a2caedae82fb105",
        "b88addbc1522ccc6",
        "5582fb843c4fc5c5",
    ],
    "A script of scenes": [
        "03936fc6dd005787",
        "bcb7da5f88d00dff",
        "faa3cee1cb4c7c3c",
        "edcc1977bdc8ebce",
        "3c4578d6aa774bb1",
    ],
    f"{BALL} · seed 1": [
        "9f94645a838c5e65",
        "c1038404fcffa96d",
        "ae3c8f61309209f7",
        "599625a14ec72716",
    ],
    f"{BALL} · seed 2": [
        "4a68dae896c69920",
        "b3998986a2ac5a8c",
        "d62ce3572b8afc58",
        "c5a45b32df4c9c48",
    ],
    f"{BALL} · seed 3": [
        "fe99cbd152c3a10a",
        "bee8f610f7283ab9",
        "db50e09f34caf5eb",
        "67f7c2d86c647f62",
    ],
}
"""The first 16 of 64 hex digits of each segment's address, by the titles of the films."""


def test_the_addresses_of_the_example_are_what_they_were() -> None:
    text = CAMPAIGN.read_text(encoding="utf-8")
    campaign = read_campaign(text, str(CAMPAIGN), CAMPAIGN.stem, naming(CAMPAIGN.parent))
    found = {}
    for film in campaign.films:
        revision = weight_store.bundled_revision(find_model(film.settings.model))
        plan = plan_film(film, revision, 3600.0)
        found[film.title] = [segment.address[:16] for segment in plan.segments]
    assert found == ADDRESSES
