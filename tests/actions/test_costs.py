"""Estimates, budgets and presets, by the database and over HTTP."""

from __future__ import annotations

import pytest

from app.actions.protocol import Actions
from app.actions.values import CampaignDetails, Steering
from film.errors import InputError, NotFoundError
from film.reading.campaign import read_campaign
from film.reading.film import film_from_prompt
from film.reading.written import write_campaign
from film.types import Campaign, OverBudget
from flows.submission.estimate import Spread
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film


def campaign(*tags: str) -> Campaign:
    films = tuple(a_film(segments_each=1, tag=tag) for tag in tags)
    return Campaign(name="c", films=films)


def test_estimates_follow_from_what_was_rendered(actions: Actions, rows: Rows) -> None:
    unknown = actions.estimate(campaign("a"))
    assert unknown.gpu_seconds is None
    assert len(unknown.unknown) == 1
    actions.submit(campaign("a"))
    rows.render_all()
    known = actions.estimate(campaign("a", "b", "c"))
    assert (known.films, known.segments, known.rendered_before) == (3, 3, 1)
    assert known.gpu_seconds == Spread(low=3.0, middle=3.0, high=3.0)
    assert (known.samples, known.devices) == (1, ("cpu",))


def test_a_budget_is_submitted_changed_and_removed(actions: Actions, rows: Rows) -> None:
    wanted = campaign("a").replace(budget_seconds=90.0, over_budget=OverBudget.WARN)
    made = actions.submit(wanted)
    row = actions.campaign_of(made.campaign_id).campaign
    assert (row.budget_seconds, row.over_budget) == (90.0, OverBudget.WARN)
    steered = actions.steer(
        made.campaign_id, Steering(budget_seconds=50.0, over_budget=OverBudget.CANCEL)
    )
    assert steered.changed
    assert steered.campaign.over_budget is OverBudget.CANCEL
    only = actions.steer(made.campaign_id, Steering(over_budget=OverBudget.STOP)).campaign
    assert (only.budget_seconds, only.over_budget) == (50.0, OverBudget.STOP)
    rows.render_all()
    shown = actions.show(made.campaign_id)
    assert isinstance(shown, CampaignDetails)
    assert shown.used_seconds == 1.5
    none = actions.steer(made.campaign_id, Steering(budget_seconds=None)).campaign
    assert none.budget_seconds is None


def test_a_campaign_with_a_budget_is_written_as_it_is_read() -> None:
    wanted = campaign("a").replace(budget_seconds=90.5, over_budget=OverBudget.CANCEL)
    read = read_campaign(write_campaign(wanted), "c.json", "c")
    assert (read.budget_seconds, read.over_budget) == (90.5, OverBudget.CANCEL)


def test_presets_are_kept_replaced_and_removed(actions: Actions) -> None:
    assert actions.presets() == []
    actions.put_preset("draft", {"size": "48x32", "steps": "4"}, "quick")
    row = actions.put_preset("draft", {"size": "48x32", "seconds": 3})
    assert (row.name, row.options, row.note) == ("draft", {"size": "48x32", "seconds": 3}, "")
    assert actions.presets() == [row]
    actions.remove_preset("draft")
    assert actions.presets() == []
    with pytest.raises(NotFoundError, match="no preset 'draft'"):
        actions.remove_preset("draft")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Draft", {"size": "48x32"}, "lower-case"),
        ("x", {"size": "wide"}, "WIDTHxHEIGHT"),
        ("x", {"prompt": "A ball"}, "unknown key 'prompt'"),
        ("x", {"model": "none"}, "no model"),
        ("x", {}, "has no options"),
    ],
)
def test_presets_that_cannot_be_are_refused(
    actions: Actions, name: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        actions.put_preset(name, options)
    assert actions.presets() == []


def test_films_of_a_preset(actions: Actions) -> None:
    row = actions.put_preset("draft", {"size": "48x32", "seconds": 3})
    film = film_from_prompt("A ball.", {"preset": "draft"}, presets=lambda _: row.options)
    made = actions.submit(Campaign(name="c", films=(film,)))
    assert made.films[0].seconds == 3.0
