"""Which GPUs this machine has, without importing torch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from film.errors import InputError
from film.types import Struct

LOOK_SECONDS = 20.0
"""How long the driver may take to list its GPUs."""


def gpus() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA itself takes an empty list, or -1, for none.
        return [] if "-1" in names else [name for name in names if name]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=LOOK_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()


def chosen(wanted: str, there: Sequence[str]) -> list[str]:
    """The GPUs of `there` that a list such as `0,2` names. Raises `InputError` naming others."""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    missing = [name for name in names if name not in there]
    if missing or not names:
        raise InputError(
            f"There is no GPU {', '.join(missing) or 'named'} here; "
            f"those that can be used: {', '.join(there) or 'none'}."
        )
    return list(dict.fromkeys(names))


class Shared(Struct, frozen=True, kw_only=True):
    """A machine's GPUs, as its worker processes share them."""

    groups: tuple[str, ...]
    """For each worker process the GPUs that it may use, comma between."""
    left: tuple[str, ...] = ()
    """GPUs that no process uses."""


def shared(there: Sequence[str], together: int | None) -> Shared:
    """The GPUs `there`, so many in each group as render `together`; one where that is None.

    Raises `InputError` where there are GPUs, but too few for a group.
    """
    size = together or 1
    if 0 < len(there) < size:
        raise InputError(
            f"{size} GPUs shall render together (LONGREEL_FLAGS), and {len(there)} can be used "
            f"here; set context_parallel lower, or leave it out."
        )
    whole = len(there) - len(there) % size
    groups = (",".join(there[first : first + size]) for first in range(0, whole, size))
    return Shared(groups=tuple(groups), left=tuple(there[whole:]))
