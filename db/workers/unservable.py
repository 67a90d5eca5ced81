"""Segments that no running worker can render, and what a worker would need for them."""

from __future__ import annotations

from collections.abc import Sequence
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
    if wanted and not living:
        return ["No worker is running; start `longreel worker`."]
    return [
        f"{explain_lack(kind, living)}."
        for kind in wanted
        if not any(can_render(worker, kind) for worker in living)
    ]


def can_render(worker: WorkerRow, kind: Kind) -> bool:
    """True if the worker has the model, the weights and the tags for `kind`."""
    has = weights_of(kind.model, kind.revision) in worker.weights or not kind.revision
    return has and kind.model in worker.models and set(kind.tags) <= set(worker.tags)


def explain_lack(kind: Kind, living: Sequence[WorkerRow]) -> str:
    """What no running worker has of the things that `kind` needs, without a full stop."""
    with_model = [worker for worker in living if kind.model in worker.models]
    if not with_model:
        return f"No running worker has the model {kind.model} (for {kind.name})"
    weights = weights_of(kind.model, kind.revision)
    with_weights = [w for w in with_model if not kind.revision or weights in w.weights]
    if not with_weights:
        spec = find_model(kind.model)
        pull = f"`longreel models pull {quote(spec.name)} --revision {kind.revision} --no-pin`"
        how = "" if spec.bundled or spec.local else f"; {pull} fetches it"
        return f"No running worker has {kind.model} at revision {kind.revision}{how}"
    lacking = [tag for tag in kind.tags if not any(tag in w.tags for w in with_weights)]
    tags = lacking or kind.tags
    noun = "tag" if len(tags) == 1 else "tags"
    together = "" if lacking else " together"
    return f"No running worker has the {noun} {', '.join(tags)}{together} (for {kind.name})"
