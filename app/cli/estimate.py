"""`longreel estimate`: what films would cost before they are submitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.cli import options
from app.cli.campaign_files import read_films
from app.cli.farm_access import acting
from app.cli.film_options import FilmsOrPrompt, with_film_options
from app.cli.output import print_json, print_line, reporting_errors
from app.cli.units import duration, size
from film.types import counted

if TYPE_CHECKING:
    from flows.submission.estimate import Estimate, Spread


@with_film_options
def estimate(
    films_or_prompt: FilmsOrPrompt,
    chosen: dict[str, Any],
    json: options.Json = False,
) -> None:
    """Estimate GPU time, time until finished, money and bytes of films. Submits nothing.

    It follows from the latest segments of the same model, size, length and flags that were rendered
    here. The range is what 8 of 10 of them keep to.

    Example: longreel estimate autumn.yaml
    """
    with reporting_errors():
        campaign = read_films(films_or_prompt, chosen)
        with acting(create=False) as farm:
            found = farm.estimate(campaign)
    if json:
        print_json(found)
        return
    for name, text in _lines(found):
        print_line(f"{name:<10}{text}")


def _is_free(found: Estimate) -> bool:
    """True if nothing is to be rendered."""
    return found.rendered_before == found.segments


def _lines(found: Estimate) -> list[tuple[str, str]]:
    """A text for each of the figures."""
    before = f", {found.rendered_before} of them need no rendering" if found.rendered_before else ""
    films = f"{counted(found.films, 'film')}, {counted(found.segments, 'segment')}{before}"
    if _is_free(found):
        return [("films", films), ("GPU time", "none: only joining is left")]
    return [
        ("films", films),
        ("GPU time", _gpu_time(found)),
        ("finished", _finished(found)),
        ("cost", _cost(found)),
        ("stored", _stored(found)),
    ]


def _gpu_time(found: Estimate) -> str:
    if found.gpu_seconds is None:
        kinds = ", ".join(found.unknown)
        return (
            f"unknown: nothing of {kinds} was rendered on this farm yet; render a film of it first"
        )
    by = f", by {counted(found.samples, 'segment')} on {', '.join(found.devices)}"
    return _ranged(found.gpu_seconds, duration) + (by if found.samples else "")


def _finished(found: Estimate) -> str:
    if found.finished_in_seconds is not None:
        workers = f", with {counted(found.workers, 'worker')}" if found.workers else ""
        return _ranged(found.finished_in_seconds, duration) + " from now" + workers
    if found.gpu_seconds is None:
        return "unknown"
    return "unknown: no running worker can render it"


def _cost(found: Estimate) -> str:
    if found.cost is not None:
        return _ranged(found.cost, lambda money: f"{money:.2f} {found.currency}")
    if found.gpu_seconds is None:
        return "unknown"
    return "unknown: set LONGREEL_GPU_HOUR_PRICE to what an hour of a GPU costs"


def _stored(found: Estimate) -> str:
    return "unknown" if found.stored_bytes is None else f"about {size(found.stored_bytes)}"


def _ranged(spread: Spread, shown: Callable[[float], str]) -> str:
    """`about 3 h (2 h 50 min to 4 h)`."""
    low, middle, high = (shown(value) for value in (spread.low, spread.middle, spread.high))
    return f"about {middle}" + (f" ({low} to {high})" if low != high else "")
