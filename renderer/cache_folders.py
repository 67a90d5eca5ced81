"""Folders of what is costly to compute again: encoded prompts and latents.

Latents stay until the segment is stored, so that a failure in decoding, even one that ends the
process, costs a decoding. This file imports no torch, because workers, which have none, tidy the
folders.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from film.types import RenderJob

KEPT_DAYS = 2.0
"""Age after which latents of segments that ended elsewhere are removed, in days."""


def prompts_of(home: Path, revision: str) -> Path:
    """The folder of the prompts that were encoded with weights of `revision`."""
    return home / "prompts" / revision


def latents_of(home: Path, job: RenderJob) -> Path:
    """The folder of the latents of a job; a retake has others than the first take."""
    return home / "latents" / f"{job.segment.address}-{job.segment.seed}"


def forget_latents(home: Path, job: RenderJob) -> None:
    """The segment is stored: neither its latents nor those of earlier takes are wanted."""
    for kept in (home / "latents").glob(f"{job.segment.address}-*"):
        shutil.rmtree(kept, ignore_errors=True)


def tidy(home: Path) -> None:
    """Removes latents that no process used again."""
    folder, now = home / "latents", time.time()
    for kept in folder.iterdir() if folder.is_dir() else ():
        try:
            old = now - kept.stat().st_mtime > KEPT_DAYS * 24 * 3600
        except OSError:
            continue  # removed by another process
        if old:
            shutil.rmtree(kept, ignore_errors=True)
