"""Segments that no running worker can render, and what a worker would need for them."""

from __future__ import annotations

from shlex import quote

from sqlalchemy.engine import Connection

from db.films.campaigns import CampaignRow
from db.segments import work_kinds
from db.segments.work_kinds import Kind, weights_of
from db.workers import registry
from db.workers.registry import WorkerRow
from film.families.lookup import find_model


def explain_unservable(
    connection: Connection, campaign: CampaignRow, film_id: str | None
) -> list[str]:
    """Why no running worker can render the rest of a campaign, or of one of its films: a sentence
    for each kind of segment."""
    if not campaign.active:
        return []
    wanted = work_kinds.still_wanted(connection, campaign.id, film_id)
    living = registry.living(connection)
    said = []
    for kind in wanted:
        if not any(_can(worker, kind) for worker in living):
            tags = f" and the tags {', '.join(kind.tags)}" if kind.tags else ""
            said.append(
                f"No living worker can render {kind.name}: it takes one with the model "
                f"{kind.model}{_weights(kind, living)}{tags}."
            )
    return said


def _weights(kind: Kind, living: list[WorkerRow]) -> str:
    """The weights that it needs, if there are workers with other weights of the model."""
    if not kind.revision or not any(kind.model in worker.models for worker in living):
        return ""
    spec = find_model(kind.model)
    pull = f"`longreel models pull {quote(spec.name)} --revision {kind.revision} --no-pin`"
    how = "" if spec.bundled or spec.local else f" ({pull} fetches it)"
    return f" at revision {kind.revision}{how}"


def _can(worker: WorkerRow, kind: Kind) -> bool:
    has = weights_of(kind.model, kind.revision) in worker.weights or not kind.revision
    return has and kind.model in worker.models and set(kind.tags) <= set(worker.tags)
