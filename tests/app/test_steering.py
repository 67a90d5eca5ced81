"""Steering campaigns from the command line, without anything being rendered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Installation

pytestmark = pytest.mark.slow

CAMPAIGN = """\
name: autumn
priority: 2
deadline: 2026-11-30 18:00
max_workers: 3
tags: big
defaults: {seconds: 2, tags: [fast]}
films: [A red ball., A blue square.]
"""


@pytest.fixture
def campaign(installation: Installation, write: Callable[[str, str], Path]) -> str:
    """A campaign of two films; its id."""
    write("autumn.yaml", CAMPAIGN)
    return str(installation.json("submit", "autumn.yaml")["campaign"])


def test_a_campaign_shows_how_it_is_dispatched(installation: Installation, campaign: str) -> None:
    shown = installation.json("show", campaign)
    assert (shown["priority"], shown["max_workers"], shown["paused"]) == (2, 3, False)
    assert shown["film_counts"] == {"queued": 2}
    assert shown["segment_counts"] == {"ready": 2}
    (blocked,) = shown["blocked"]
    assert blocked == "No worker is running; start `longreel worker`."
    text = installation.run("show", campaign).stdout
    assert "active, priority 2, deadline 2026-11-30 18:00:00, at most 3 segments" in text
    assert "2 films: 2 queued" in text
    assert blocked in text
    assert blocked in installation.run("show", f"{campaign}-1").stdout


def test_options_of_submit_win_over_the_file(
    installation: Installation, write: Callable[[str, str], Path]
) -> None:
    write("autumn.yaml", CAMPAIGN)
    wishes = ["--priority", "7", "--deadline", "2027-01-01", "--max-workers", "1", "--tags", "x"]
    submitted = installation.json("submit", "autumn.yaml", *wishes)
    shown = installation.json("show", submitted["campaign"])
    assert (shown["priority"], shown["max_workers"]) == (7, 1)
    for film in shown["films"]:
        assert installation.json("show", film["id"])["request"]["tags"] == ["x"]
    refused = installation.run("submit", "autumn.yaml", "--max-workers", "0")
    assert refused.returncode == 2
    assert "max_workers: expected 1 worker or more, got 0" in refused.stderr


def test_a_campaign_is_paused_and_resumed(installation: Installation, campaign: str) -> None:
    assert installation.json("pause", campaign)["changed"] is True
    assert installation.json("pause", campaign)["changed"] is False
    assert [film["status"] for film in installation.json("ls")] == ["paused", "paused"]
    assert "paused, priority 2" in installation.run("show", campaign).stdout
    assert installation.json("resume", campaign)["paused"] is False
    assert [film["status"] for film in installation.json("ls")] == ["waiting", "waiting"]


def test_a_campaign_is_paused_as_a_whole(installation: Installation, campaign: str) -> None:
    refused = installation.run("pause", f"{campaign}-1")
    assert refused.returncode == 2
    assert f"is one film of the campaign {campaign}" in refused.stderr


def test_a_priority_is_changed(installation: Installation, campaign: str) -> None:
    assert installation.json("priority", campaign, "9")["priority"] == 9
    assert installation.run("priority", campaign, "--", "-4").returncode == 0
    assert installation.json("show", campaign)["priority"] == -4
    assert "whole number" in installation.run("priority", campaign, "much").stderr


def test_cancelled_films_are_queued_again_unless_only_failed_ones_are_wanted(
    installation: Installation, campaign: str
) -> None:
    assert [row["changed"] for row in installation.json("cancel", campaign)] == [True, True]
    assert installation.json("show", campaign)["active"] is False
    failed = installation.json("requeue", campaign, "--failed")
    assert [row["status"] for row in failed] == ["cancelled", "cancelled"]
    assert "queued again" in installation.run("requeue", campaign).stdout
    assert [film["status"] for film in installation.json("ls")] == ["waiting", "waiting"]


def test_events_are_followed_to_the_films_end(installation: Installation, campaign: str) -> None:
    installation.json("cancel", campaign)
    lines = installation.run("events", campaign, "--follow", "--json").stdout.splitlines()
    told = [json.loads(line) for line in lines]
    assert [event["kind"] for event in told] == ["queued", "queued", "cancelled", "cancelled"]
    assert installation.json("events", f"{campaign}-2") == [told[1], told[3]]
    assert "Cancelled by the user" in installation.run("logs", campaign).stdout


def test_a_listing_ends_where_it_is_told_to(installation: Installation, campaign: str) -> None:
    assert len(installation.json("ls", "-n", "1")) == 1
    assert len(installation.json("show", campaign, "-n", "1")["films"]) == 1
    assert "The first 1 of 2 films" in installation.run("show", campaign, "-n", "1").stderr
