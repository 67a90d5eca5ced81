"""Which weights are on this machine, looked at again and again while a worker works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

from flows.background import Background
from flows.models import weights_here
from flows.wiring import Farm

LOOK_SECONDS = 3.0
"""Pause between two looks; each asks the database once and looks whether files are there."""

END_SECONDS = 1.0
"""So long its end waits for a look; one that reads large files is let go."""

OnChange = Callable[[tuple[str, ...], tuple[str, ...]], None]
"""Told the models and the weights that there are now."""


class Stock(Background):
    """The weights that a worker can render with. While the block lasts, weights that come or go are
    noticed within seconds; local ones once they are read."""

    def __init__(self, farm: Farm, names: Iterable[str] | None, *, reading: bool = False) -> None:
        """Of the models `names`; None: of all that the farm knows. `reading`: large local weights
        are read right now, rather than beside the first segments."""
        super().__init__("stock")
        self._farm = farm
        self._names = None if names is None else tuple(names)
        self._on_change: OnChange = lambda models, weights: None
        self.weights = weights_here(farm, self._names, reading=reading)
        """As `db.kinds.weights_of` writes them."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models of these weights."""
        return models_of(self.weights)

    def telling(self, on_change: OnChange) -> Stock:
        """Itself, which from now on tells of each change."""
        self._on_change = on_change
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(END_SECONDS)

    def _keep(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with suppress(Exception):  # the database, or a disk, may come back
                self._look()

    def _look(self) -> None:
        found = weights_here(self._farm, self._names)
        if found != self.weights:
            self.weights = found
            self._on_change(self.models, found)


def models_of(weights: Iterable[str]) -> tuple[str, ...]:
    """The models that there are any weights of, each once."""
    return tuple(dict.fromkeys(word.rpartition("@")[0] for word in weights))
