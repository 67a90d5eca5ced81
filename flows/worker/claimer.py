"""Claims the segments that a worker can render, and skips those that it cannot."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence

from db.segments import claims, segment_lease
from db.segments.claims import Lease
from db.segments.fair_share import Abilities
from db.workers.registry import Registration
from film.errors import DatabaseError
from flows.farm import Farm
from flows.model_catalog.inventory import Stock

logger = logging.getLogger(__name__)

SKIP_SECONDS = 60.0
"""How long a worker skips a kind of work after running out of memory on it, in seconds."""


class Claimer:
    """Claims segments for one worker, and remembers which failed. Shared by the worker's threads.

    Its methods that answer a question change nothing.
    """

    def __init__(
        self, farm: Farm, me: Registration, stock: Stock, campaigns: Sequence[str] | None = None
    ) -> None:
        """`campaigns`: ids of the only campaigns to claim from, None for all."""
        self._farm = farm
        self._tags = frozenset(me.tags)
        self._stock = stock
        self._campaigns = None if campaigns is None else tuple(campaigns)
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._skipped_until: dict[str, float] = {}
        self._failed: set[int] = set()
        self._unreleased: list[Lease] = []
        self._unanswered = False

    def claim(self, warm: str | None) -> Lease | None:
        """The next segment, of the kind `warm` if one is ready; None if none is.

        Raises `DatabaseError`; the database may have leased a segment all the same, which
        `release_lost` gives back.
        """
        able = self._abilities(warm)
        # What it failed at is claimed again only if nothing else is ready.
        choices = [able] if not able.avoid else [able, able.replace(avoid=())]
        seconds, claimed = self._farm.settings.lease_seconds, None
        try:
            with self._farm.database.write() as connection:
                for choice in choices:
                    claimed = claimed or claims.claim(connection, self._farm.owner, choice, seconds)
        except DatabaseError:
            self._unanswered = True
            raise
        return claimed

    @property
    def has_unreleased(self) -> bool:
        """True if the database may hold leases for this worker that nothing here knows of."""
        return self._unanswered or bool(self._unreleased)

    def release_lost(self, held: Collection[Lease]) -> None:
        """Gives back the leases that are not in `held`: those whose release the database missed,
        and one whose claim it did not answer. Raises `DatabaseError`."""
        with self._lock:
            unreleased = list(self._unreleased)
        with self._farm.database.write() as connection:
            for lease in unreleased:
                segment_lease.release(connection, lease)
            if self._unanswered:
                ids = [lease.id for lease in held]
                count = segment_lease.release_unheld(connection, self._farm.owner, ids)
                if count:
                    logger.warning("Gave back %d segments whose claim was not answered", count)
        self._unanswered = False
        with self._lock:
            for lease in unreleased:
                self._unreleased.remove(lease)

    @property
    def paused(self) -> bool:
        """True while nothing is to be claimed."""
        return time.monotonic() < self._paused_until

    def pause(self, seconds: float) -> None:
        """Claims nothing for the next `seconds`."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def skip(self, kind: str) -> None:
        """Claims no work of this kind for `SKIP_SECONDS`: other workers may be able to do it."""
        with self._lock:
            self._skipped_until[kind] = time.monotonic() + SKIP_SECONDS

    def release_later(self, lease: Lease) -> None:
        """Has `release_lost` release `lease`, because the database does not answer now."""
        with self._lock:
            self._unreleased.append(lease)

    def count_failure(self, lease: Lease) -> int:
        """Counts a failure of the worker; returns the number of segments it failed at in a row."""
        with self._lock:
            self._failed.add(lease.id)
            return len(self._failed)

    def avoid(self, lease: Lease) -> None:
        """Claims this segment again only if nothing else is ready."""
        with self._lock:
            self._failed.add(lease.id)

    def forgive(self) -> None:
        """Forgets earlier failures: a segment succeeded, or an operator repaired the worker."""
        with self._lock:
            self._failed.clear()

    def _abilities(self, warm: str | None) -> Abilities:
        now = time.monotonic()
        with self._lock:
            return Abilities(
                models=self._stock.models,
                weights=self._stock.weights,
                tags=self._tags,
                warm=warm,
                campaigns=self._campaigns,
                without=tuple(kind for kind, until in self._skipped_until.items() if until > now),
                avoid=tuple(self._failed),
            )
