"""Which GPUs this machine has, without importing torch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from film.errors import InputError
from film.types import Struct

LOOK_SECONDS = 20.0
"""Longest time that the driver may take to list its GPUs, in seconds."""


def list_gpus() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # For CUDA, too, an empty list or -1 means none.
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


def choose_gpus(wanted: str, there: Sequence[str]) -> list[str]:
    """The GPUs of `there` that a list such as `0,2` names. Raises `InputError` for any other."""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    missing = [name for name in names if name not in there]
    if missing or not names:
        raise InputError(
            f"There is no GPU {', '.join(missing) or 'named'} on this machine; "
            f"those that can be used: {', '.join(there) or 'none'}."
        )
    return list(dict.fromkeys(names))


class GpuGroups(Struct, frozen=True, kw_only=True):
    """The GPUs of a machine, divided among its worker processes."""

    groups: tuple[str, ...]
    """The comma-separated GPUs of each worker process."""
    left: tuple[str, ...] = ()
    """GPUs that no process uses."""


def group_gpus(there: Sequence[str], together: int | None) -> GpuGroups:
    """Divides the GPUs `there` into groups of the `together` that render together; None means 1.

    Raises `InputError` if there are GPUs, but too few for a group.
    """
    size = together or 1
    if 0 < len(there) < size:
        raise InputError(
            f"{size} GPUs are to render together (LONGREEL_FLAGS), but only {len(there)} can be "
            f"used on this machine; set context_parallel lower, or leave it out."
        )
    whole = len(there) - len(there) % size
    groups = (",".join(there[first : first + size]) for first in range(0, whole, size))
    return GpuGroups(groups=tuple(groups), left=tuple(there[whole:]))
