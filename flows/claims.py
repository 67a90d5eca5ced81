"""What a worker claims: segments that it can do, and whether any now."""

from __future__ import annotations

import time
from collections.abc import Sequence

from db import claiming, segments
from db.claiming import Lease
from db.dispatch import Abilities
from db.workers import Registration
from flows.stock import Stock
from flows.wiring import Farm

TOO_BIG_SECONDS = 60.0
"""So long a worker leaves work to others for which it had too little memory."""


class Claims:
    """Claims segments for one worker, and remembers what went wrong with those before."""

    def __init__(
        self, farm: Farm, me: Registration, stock: Stock, campaigns: Sequence[str] | None
    ) -> None:
        """`campaigns`: only these, by id."""
        self._farm = farm
        self._tags = frozenset(me.tags)
        self._stock = stock
        self._campaigns = None if campaigns is None else tuple(campaigns)
        self._paused_until = 0.0
        self._too_big: dict[str, float] = {}
        self._failed: set[int] = set()
        self._unended: list[Lease] = []

    def claim(self, warm: str | None) -> Lease | None:
        """The next segment, of the kind `warm` where there is one; None where nothing is ready.

        Raises `DatabaseError`.
        """
        able = Abilities(
            models=self._stock.models,
            weights=self._stock.weights,
            tags=self._tags,
            warm=warm,
            campaigns=self._campaigns,
            without=self._beyond_me(),
            avoid=tuple(self._failed),
        )
        # What it failed at it tries again only where there is nothing else.
        choices = [able] if not able.avoid else [able, able.replace(avoid=())]
        seconds, claimed = self._farm.settings.lease_seconds, None
        with self._farm.database.write() as connection:
            unended = list(self._unended)
            for lease in unended:
                segments.release(connection, lease)
            for choice in choices:
                claimed = claimed or claiming.claim(connection, self._farm.owner, choice, seconds)
        for lease in unended:
            self._unended.remove(lease)
        return claimed

    @property
    def paused(self) -> bool:
        """Whether nothing is to be claimed just now."""
        return time.monotonic() < self._paused_until

    def pause(self, seconds: float) -> None:
        """Nothing is claimed for so long."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def leave_to_others(self, kind: str) -> None:
        """Work of this kind is not claimed for a while: others may have what it needs."""
        self._too_big[kind] = time.monotonic() + TOO_BIG_SECONDS

    def end_later(self, lease: Lease) -> None:
        """The database was away when `lease` ended; it is given back with the next claim."""
        self._unended.append(lease)

    def failed_at(self, lease: Lease) -> int:
        """Notes a failure of the worker; at how many different segments it failed by now."""
        self._failed.add(lease.id)
        return len(self._failed)

    def forgive(self) -> None:
        """A segment went well, or somebody mended the worker: earlier failures do not count."""
        self._failed.clear()

    def _beyond_me(self) -> tuple[str, ...]:
        now = time.monotonic()
        return tuple(kind for kind, until in list(self._too_big.items()) if until > now)
