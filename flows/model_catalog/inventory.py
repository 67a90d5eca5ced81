"""Which weights are on this machine, looked at again and again while a worker works."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from flows.farm import Farm
from flows.model_catalog.revisions import weights_here
from flows.periodic import Periodic

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""Pause between two looks; each asks the database once and looks whether files are there."""

END_SECONDS = 1.0
"""Longest time that the end waits for a look that reads large files, in seconds."""

OnChange = Callable[[tuple[str, ...], tuple[str, ...]], None]
"""Called with the models and the weights that are there now."""


class Stock:
    """The weights that a worker can render with, as they were at the last look."""

    def __init__(self, farm: Farm, names: Iterable[str] | None, *, reading: bool = False) -> None:
        """The weights of the models `names`, or of all that the farm knows if None. `reading`:
        large local weights are read now, rather than while the first segments render."""
        self._farm = farm
        self._names = None if names is None else tuple(names)
        self.weights = weights_here(farm, self._names, reading=reading)
        """As `db.segments.work_kinds.weights_of` writes them."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models of these weights."""
        return models_of(self.weights)

    def watching(self, on_change: OnChange) -> Periodic:
        """While the block lasts, weights that come or go are noticed within seconds, local ones
        once they are read."""
        return Periodic(
            "The look for weights",
            LOOK_SECONDS,
            lambda: self.look(on_change),
            wait_seconds=END_SECONDS,
        )

    def look(self, on_change: OnChange) -> None:
        """Looks once, and calls `on_change` if anything is different. Raises `DatabaseError`."""
        found = weights_here(self._farm, self._names)
        if found != self.weights:
            logger.info("The weights on this machine are now: %s", ", ".join(found) or "none")
            self.weights = found
            on_change(self.models, found)


def models_of(weights: Iterable[str]) -> tuple[str, ...]:
    """The models that there are any weights of, each once."""
    return tuple(dict.fromkeys(word.rpartition("@")[0] for word in weights))
