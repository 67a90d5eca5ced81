"""A job on its way through the renderer."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from film.types import RenderJob
from renderer.protocol import RenderInputs


@dataclass
class Run:
    """The state of one job while it is rendered. Two jobs may be in progress, each with its own."""

    job: RenderJob
    inputs: RenderInputs
    latents: Path | None
    """The folder in which its latents are kept, None for nowhere."""
    lane: int = 0
    """Index of the pipeline that renders it: two jobs in progress have one each."""
    denoised: threading.Event = field(default_factory=threading.Event)
    """Set once the denoiser is free for the next job, or the run has ended."""
    replaying: bool = False
    """True if it decodes kept latents (renderer/pipeline/vae_decoding.py)."""
    decodings: int = 0
    """Number of calls of a VAE so far."""
    loras: dict[str, Any] = field(default_factory=dict)
    """The LoRAs, as its take records them."""
    began: float = field(default_factory=time.perf_counter)
    prompt_seconds: float = 0.0
    decode_seconds: float = 0.0
    seconds: float = 0.0
    """Seconds of the whole run, once it has ended."""


CURRENT: ContextVar[Run] = ContextVar("CURRENT")
"""The run that this thread works on."""
