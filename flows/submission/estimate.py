"""What a campaign would cost before it is submitted: GPU time, time until it is finished, money,
bytes.

All of it follows from what the latest segments of the same kind (model, shape, flags, LoRAs) used
on this farm. A kind that was never rendered here is named, and what depends on it is not known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from statistics import median, quantiles

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import spending
from db.films.films import BATCH, batched
from db.segments import takes
from db.segments.work_kinds import Kind, kind_of
from db.spending import Sample
from db.tables import campaigns, segments
from db.workers import registry
from db.workers.registry import WorkerRow, WorkerState
from db.workers.unservable import can_render
from film.types import Campaign, FilmRequest, Plan, Segment, SegmentStatus, Struct
from flows.farm import Farm
from flows.submission.submit import plans

_HELD = (WorkerState.DRAINING, WorkerState.DRAINED, WorkerState.STOPPED)
_TO_RENDER = (SegmentStatus.WAITING, SegmentStatus.READY, SegmentStatus.LEASED)


class Spread(Struct, frozen=True, kw_only=True):
    """An estimate with its spread: the 10th, 50th and 90th percentile of what was measured."""

    low: float
    middle: float
    high: float

    def __add__(self, other: Spread) -> Spread:
        return Spread(
            low=self.low + other.low,
            middle=self.middle + other.middle,
            high=self.high + other.high,
        )

    def times(self, factor: float) -> Spread:
        """The spread of `factor` times as much."""
        return Spread(low=self.low * factor, middle=self.middle * factor, high=self.high * factor)


NOTHING = Spread(low=0.0, middle=0.0, high=0.0)


class Estimate(Struct, frozen=True, kw_only=True):
    """What a campaign would cost. What is None is not known."""

    films: int
    segments: int
    rendered_before: int
    """Those of `segments` that cost nothing more, the same ones within the campaign included."""
    unknown: tuple[str, ...]
    """Kinds of segments that were never rendered here."""
    devices: tuple[str, ...]
    """What rendered the segments from which this follows."""
    samples: int
    """Number of these segments."""
    gpu_seconds: Spread | None
    finished_in_seconds: Spread | None
    """From now on: `low` if it gets all workers, `middle` if it shares them with what is queued,
    `high` if it waits for all that is queued. None if no running worker can render it, too."""
    workers: int
    """Running workers that can render a part of it."""
    cost: Spread | None
    """At the price of `LONGREEL_GPU_HOUR_PRICE`; None without it, too."""
    currency: str
    stored_bytes: int | None
    """Size of its takes and films."""


class Queued(Struct, frozen=True, kw_only=True):
    """What is left to render of another campaign."""

    priority: int
    seconds: float


class _Task(Struct, frozen=True, kw_only=True):
    """A segment that is to be rendered."""

    film: int
    index: int
    continues: int | None
    kind: Kind
    passes: int
    """Passes through the model."""
    kept: float
    """Part of its frames that the film shows."""


def estimate(farm: Farm, campaign: Campaign) -> Estimate:
    """What `campaign` would cost. Raises `InputError` if it cannot be rendered, `DatabaseError`."""
    planned = list(plans(farm, campaign))
    if farm.is_new:
        return _estimate(farm, planned, set(), [], [], [], campaign.priority)
    addresses = {segment.address for _, plan in planned for segment in plan.segments}
    with farm.database.read() as connection:
        before: set[str] = set()
        for some in batched(sorted(addresses), BATCH):
            before |= takes.rendered(connection, some)
        kinds = {task.kind.name for task in _tasks(planned, before)}
        queue = _queue(connection)
        others = {kind for _, left in queue for kind in left}
        found = spending.samples(connection, kinds | others)
        living = registry.living(connection)
    usual = {kind: median(seconds) for kind, seconds in _by_kind(found).items()}
    queued = [
        Queued(
            priority=priority,
            seconds=sum(count * usual.get(kind, 0.0) for kind, count in left.items()),
        )
        for priority, left in queue
    ]
    mine = [sample for sample in found if sample.kind in kinds]
    return _estimate(farm, planned, before, mine, living, queued, campaign.priority)


def _estimate(
    farm: Farm,
    planned: Sequence[tuple[FilmRequest, Plan]],
    before: set[str],
    found: Sequence[Sample],
    living: Sequence[WorkerRow],
    queued: Sequence[Queued],
    priority: int,
) -> Estimate:
    tasks = _tasks(planned, before)
    able = [
        worker
        for worker in living
        if worker.state not in _HELD and any(can_render(worker, task.kind) for task in tasks)
    ]
    used = _of_devices(found, able)
    count = Counter((task.kind.name, task.passes) for task in tasks)
    costs = spreads(used, count)
    unknown = tuple(sorted({kind for kind, _ in count.keys() - costs.keys()}))
    total = None if unknown else _sum(costs[work].times(count[work]) for work in count)
    chain = None if unknown else _longest_chain(tasks, costs)
    price = farm.settings.gpu_hour_price
    segment_count = sum(len(plan.segments) for _, plan in planned)
    return Estimate(
        films=len(planned),
        segments=segment_count,
        rendered_before=segment_count - len(tasks),
        unknown=unknown,
        devices=tuple(sorted({sample.device for sample in used})),
        samples=len(used),
        gpu_seconds=total,
        finished_in_seconds=finish(total, chain, len(able), queued, priority)
        if total and chain
        else None,
        workers=len(able),
        cost=total.times(price / 3600) if total and price is not None else None,
        currency=farm.settings.currency,
        stored_bytes=None if unknown else _stored_bytes(tasks, used),
    )


def finish(
    total: Spread, chain: Spread, workers: int, queued: Sequence[Queued], priority: int
) -> Spread | None:
    """How long it takes until `total` GPU-seconds, of which a film needs `chain` one after another,
    are rendered by that many workers, in front of which other campaigns are queued.

    The middle is processor sharing: of each campaign of the same priority, as much is rendered
    meanwhile as of this one, or all of it.
    """
    if not total.high:
        return NOTHING
    if not workers:
        return None
    urgent = sum(other.seconds for other in queued if other.priority > priority)
    shared = sum(min(o.seconds, total.middle) for o in queued if o.priority == priority)
    everything = sum(other.seconds for other in queued)
    return Spread(
        low=max(chain.low, total.low / workers),
        middle=max(chain.middle, (urgent + shared + total.middle) / workers),
        high=max(chain.high, (everything + total.high) / workers),
    )


Work = tuple[str, int]
"""A kind of segments, and the passes through the model that each takes."""


def spreads(found: Iterable[Sample], wanted: Iterable[Work]) -> dict[Work, Spread]:
    """What a segment of each of these works uses, in GPU-seconds; of those of which it is known."""
    by_kind: dict[str, list[Sample]] = defaultdict(list)
    for sample in found:
        by_kind[sample.kind].append(sample)
    return {
        (kind, passes): _spread([sample.seconds_for(passes) for sample in by_kind[kind]])
        for kind, passes in wanted
        if kind in by_kind
    }


def _by_kind(found: Iterable[Sample]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for sample in found:
        seconds[sample.kind].append(sample.gpu_seconds)
    return seconds


def _spread(values: Sequence[float]) -> Spread:
    if len(values) == 1:
        return Spread(low=values[0], middle=values[0], high=values[0])
    tenths = quantiles(values, n=10, method="inclusive")
    return Spread(low=tenths[0], middle=median(values), high=tenths[-1])


def _of_devices(found: Sequence[Sample], able: Sequence[WorkerRow]) -> list[Sample]:
    """The samples of the class of devices (cpu, cuda) that the workers have; all of them if none
    is of it, or no worker is running."""
    classes = {worker.device.partition(":")[0] for worker in able}
    same = [sample for sample in found if sample.device.partition(":")[0] in classes]
    kinds = {sample.kind for sample in same}
    return same + [sample for sample in found if sample.kind not in kinds]


def _tasks(planned: Sequence[tuple[FilmRequest, Plan]], before: set[str]) -> list[_Task]:
    """The segments to be rendered: each work once, and none that has a take."""
    seen = set(before)
    found = []
    for number, (request, plan) in enumerate(planned):
        for segment in plan.segments:
            if segment.address in seen:
                continue
            seen.add(segment.address)
            found.append(_task(number, request, plan, segment))
    return found


def _task(number: int, request: FilmRequest, plan: Plan, segment: Segment) -> _Task:
    return _Task(
        film=number,
        index=segment.index,
        continues=segment.continues,
        kind=kind_of(plan, segment, request.tags, request.settings.flags),
        passes=spending.passes_of(
            request.settings.num_inference_steps, request.settings.guidance_scale
        ),
        kept=segment.keep_frames / segment.num_frames,
    )


def _longest_chain(tasks: Sequence[_Task], costs: Mapping[Work, Spread]) -> Spread:
    """What the segments cost that must be rendered one after another, at most."""
    until: dict[tuple[int, int], Spread] = {}
    for task in tasks:  # a segment comes after the one that it continues
        first = NOTHING if task.continues is None else until.get((task.film, task.continues))
        until[task.film, task.index] = (first or NOTHING) + costs[task.kind.name, task.passes]
    return max(until.values(), key=lambda spread: spread.middle, default=NOTHING)


def _stored_bytes(tasks: Sequence[_Task], found: Sequence[Sample]) -> int:
    """Bytes of the takes, and of the films, which are their frames without the repeated ones."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for sample in found:
        sizes[sample.kind].append(sample.size_bytes)
    usual = {kind: median(values) for kind, values in sizes.items()}
    return round(sum(usual[task.kind.name] * (1 + task.kept) for task in tasks))


def _sum(parts: Iterable[Spread]) -> Spread:
    return reduce(Spread.__add__, parts, NOTHING)


def _queue(connection: Connection) -> list[tuple[int, dict[str, int]]]:
    """The priority of each active campaign, with its segments to be rendered by kind."""
    rows = connection.execute(
        sa.select(campaigns.c.id, campaigns.c.priority, segments.c.kind, sa.func.count())
        .join(segments, segments.c.campaign_id == campaigns.c.id)
        .where(
            campaigns.c.active,
            campaigns.c.paused_at.is_(None),
            segments.c.status.in_(_TO_RENDER),
        )
        .group_by(campaigns.c.id, campaigns.c.priority, segments.c.kind)
    )
    found: dict[str, tuple[int, dict[str, int]]] = {}
    for campaign_id, priority, kind, count in rows:
        found.setdefault(campaign_id, (priority, {}))[1][kind] = count
    return list(found.values())
