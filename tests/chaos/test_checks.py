"""The checks see what they are there to see, and a seed gives the same faults again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos import checks
from tests.chaos.checks import Result
from tests.chaos.faults import faults
from tests.chaos.harness import campaign_of
from tests.chaos.watch import Look, done_again, gone_backwards, leased_twice, taken_again

ADDRESS = "ab" * 32
KEY = f"takes/ab/{ADDRESS}/video.mp4"


def segment(**changed: Any) -> Any:
    """A segment that is done."""
    values = {"id": 1, "film_id": "c-1", "position": 0, "address": ADDRESS, "status": "done"}
    return SimpleNamespace(
        **{**values, "attempt": 2, "owner": None, "lease_until": None, **changed}
    )


def film(**changed: Any) -> Any:
    """A film that is delivered."""
    values = {"id": "c-1", "position": 1, "status": "delivered", "attempt": 1, "error": None}
    delivery = {"key": "films/x.mp4", "sha256": "f1"}
    given = {"owner": None, "lease_until": None, "delivery": delivery, "flow_run_id": "r"}
    return SimpleNamespace(**{**values, **given, **changed})


def take(**changed: Any) -> Any:
    """The take of that segment."""
    return SimpleNamespace(address=ADDRESS, video_key=KEY, take={"sha256": "t1", **changed})


def look(*rows: Any, takes: dict[str, float] | None = None) -> Look:
    """One look."""
    return Look({row.id: row for row in rows}, {"c-1": film()}, takes or {})


GOOD = Result(
    films=[film()],
    segments=[segment()],
    takes=[take()],
    rendered=[("c-1", 0)],
    failures=0,
    objects={KEY: "t1", "films/x.mp4": "f1"},
    uploads=[],
)


def violations(after: Result) -> list[str]:
    """The checks of the database and the store."""
    return [
        *checks.every_film_is_delivered(after),
        *checks.films_are_equal(GOOD, after),
        *checks.objects_are_equal(GOOD, after),
        *checks.takes_are_whole(after),
        *checks.nothing_is_rendered_twice(after),
        *checks.no_row_is_running(after),
        *checks.no_upload_is_left(after),
    ]


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert violations(GOOD) == []
    before = look(segment(), takes={ADDRESS: 1.0})
    assert leased_twice(before) == gone_backwards(before, before) == []
    assert done_again(before, before) == taken_again(before, before) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"films": [film(status="failed", delivery=None)]}, "is failed, not delivered"),
        ({"objects": {**GOOD.objects, "films/x.mp4": "f2"}}, "Film 1 is not bit for bit"),
        ({"objects": {KEY: "t1"}}, "its file is not in the store"),
        ({"objects": {**GOOD.objects, "takes/cd/more": "t1"}}, "did not store"),
        ({"objects": {**GOOD.objects, KEY: "t2"}}, "is not what the store holds"),
        ({"takes": [take(sound_key="takes/ab/sound.flac")]}, "misses the sound of the take"),
        ({"takes": []}, "has no take"),
        ({"rendered": [("c-1", 0), ("c-1", 0)]}, "was recorded 2 times"),
        ({"segments": [segment(status="leased", owner="w")]}, "is left leased, held by w"),
        ({"films": [film(owner="w")]}, "in the hands of w"),
        ({"uploads": ["check/1"]}, "never ended"),
    ],
)
def test_what_is_wrong_is_said(changed: dict[str, Any], said: str) -> None:
    assert any(said in violation for violation in violations(replace(GOOD, **changed)))


def test_what_must_never_be_seen_is_seen() -> None:
    one, other = segment(status="leased", owner="a"), segment(id=2, status="leased", owner="b")
    assert "by a and by b" in leased_twice(look(one, other))[0]
    before = look(segment(), takes={ADDRESS: 1.0})
    assert "from 2 to 1" in gone_backwards(before, look(segment(attempt=1)))[0]
    assert "is ready again" in done_again(before, look(segment(status="ready")))[0]
    assert "gone now" in taken_again(before, look(segment()))[0]
    assert "another one now" in taken_again(before, look(segment(), takes={ADDRESS: 2.0}))[0]


def test_a_seed_gives_the_same_faults_again_and_sixteen_of_them_hit_every_part() -> None:
    planned = faults(7, 100, 3, 6.0)
    assert planned == faults(7, 100, 3, 6.0)
    assert planned != faults(8, 100, 3, 6.0)
    assert [fault.number for fault in planned] == list(range(1, 101))
    servers = {"database", "s3", "prefect"}
    parts = {"worker", "rendering process", *servers, *(f"network to {name}" for name in servers)}
    assert {fault.part for fault in planned[:16]} == parts


def test_the_campaigns_films_share_takes_and_continue_one_another() -> None:
    from film.plan import plan_film
    from film.reading.campaign import read_campaign

    films = read_campaign(campaign_of(8), "chaos.yaml", "chaos").films
    plans = [plan_film(request, "1", 3600) for request in films]
    assert [len(plan.segments) for plan in plans] == [4] * 8
    segments = [segment for plan in plans for segment in plan.segments]
    assert len({segment.address for segment in segments}) < len(segments)
    assert sum(segment.continues is not None for segment in segments) > len(segments) // 2
