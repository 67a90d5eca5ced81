"""Planners: from a film as asked for to its scenes.

A `Planner` decides the scenes' prompts, lengths and seams; film/plan.py does the rest.
"""

from __future__ import annotations

from typing import Protocol

from film.models import ModelSpec
from film.planning.rules import plan_by_rules
from film.planning.script import plan_by_script
from film.types import FilmRequest, Scene


class Planner(Protocol):
    """Splits a film into scenes; the lengths add up to the film exactly."""

    def __call__(self, request: FilmRequest, spec: ModelSpec) -> tuple[Scene, ...]:
        """The scenes of `request`, in order."""
        ...


def draft_scenes(request: FilmRequest, spec: ModelSpec) -> tuple[Scene, ...]:
    """The scenes of `request`: from its script, else by rules from its prompt."""
    planner: Planner = plan_by_script if request.scenes else plan_by_rules
    return planner(request, spec)
