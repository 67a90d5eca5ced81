"""What a process that renders sets up before it imports torch."""

from __future__ import annotations

import logging
import os
import threading


def prepare_libraries() -> None:
    """Prepares this process for rendering. To be called before torch is imported."""
    # Threads that wait for work by spinning slow a busy machine down five times and more
    # (docs/decisions/0006-rendering-process.md). To be set before torch loads its threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import tqdm

    # tqdm's own lock is a semaphore between processes, and would be left over by a kill.
    tqdm.tqdm.set_lock(threading.RLock())
    for chatty in ("torchao", "torch.utils._pytree"):  # about kernels for other machines
        logging.getLogger(chatty).setLevel(logging.ERROR)
