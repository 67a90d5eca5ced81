"""A model as JSON, for `models --json` and the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from film.types import to_json

if TYPE_CHECKING:
    from flows.model_catalog.revisions import ModelState


def model_data(state: ModelState) -> dict[str, Any]:
    """What users are shown of a model."""
    data: dict[str, Any] = to_json(state.spec, order=None)
    del data["calling"]
    return {
        **data,
        "renders_from": list(state.spec.calling.pipelines),
        "revision": state.revision,
        "here": state.here,
        "to_pull": not (state.here or state.spec.local),
    }
