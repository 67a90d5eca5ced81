"""Where each model's weights are, and what its pipeline is called with. No heavy import."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from film.models import ModelSpec, find_model
from film.types import Struct
from renderer.demo import recipe


class FamilyRow(Struct, frozen=True, kw_only=True):
    """How the pipelines of one family are called, where data can say it."""

    pipeline: str
    """Class that `DiffusionPipeline.from_pretrained` must give."""
    condition: str | None
    """Class of diffusers that holds conditioning frames; None where the family takes none."""
    arguments: dict[str, Any]
    """Arguments of every call, beside those that a job decides."""


FAMILIES = {
    "demo": FamilyRow(
        pipeline=recipe.PIPELINE_CLASS,
        condition=recipe.CONDITION_CLASS,
        # The rate enters the position embedding: always the one that it was trained at.
        arguments={
            key: recipe.CALL[key]
            for key in ("frame_rate", "image_cond_noise_scale", "max_sequence_length")
        },
    ),
}


def model_folder(spec: ModelSpec) -> Path:
    """The folder with the weights of a bundled model."""
    return Path(__file__).parent / spec.source.removeprefix("package:")


@cache
def model_revision(name: str) -> str:
    """Digest of a model's files (16 hex digits): other weights are another revision."""
    folder = model_folder(find_model(name))
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
