"""A job on its way through the renderer."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from film.types import RenderJob


@dataclass
class Run:
    """What is known of a job while it is rendered; of it alone, since two may be under way."""

    job: RenderJob
    latents: Path | None
    """Where its latents are kept; nowhere if None."""
    lane: int = 0
    """Which of the pipelines renders it: two under way have one each."""
    denoised: threading.Event = field(default_factory=threading.Event)
    """Set once the denoiser is free for the next job, or the run has ended."""
    replaying: bool = False
    """Whether it decodes what was kept, see renderer/pipeline/vae_decoding.py."""
    decodings: int = 0
    """Calls of a VAE so far."""
    loras: dict[str, Any] = field(default_factory=dict)
    """What its take says of them."""
    began: float = field(default_factory=time.perf_counter)
    prompt_seconds: float = 0.0
    decode_seconds: float = 0.0
    seconds: float = 0.0
    """All of it, where it has ended."""


CURRENT: ContextVar[Run] = ContextVar("CURRENT")
"""The run that this thread is about."""
