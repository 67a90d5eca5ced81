"""Weights: where they are on this machine, of which revision, and how to get them.

Weights from the hub lie in its own cache, where other programs find them too; that they are whole
is noted in LONGREEL_HOME once a download came to its end. Only safetensors are taken, and no code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from film.errors import InputError, WeightsMissingError
from film.models import ModelSpec

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""Of a pipeline's repository; weights in other formats could hold code."""


def bundled_revision(spec: ModelSpec) -> str:
    """Digest of a bundled model's files (16 hex digits): other weights are another revision."""
    return _digest(_bundled_folder(spec))


def folder_of(spec: ModelSpec, revision: str, home: Path) -> Path:
    """The folder of the weights on this machine. Raises `WeightsMissingError`."""
    if spec.bundled:
        return _bundled_folder(spec)
    if not is_here(spec, revision, home):
        raise WeightsMissingError(
            f"The weights of {spec.name!r} at revision {revision} are not on this machine: "
            f"`longreel models pull {spec.name} --revision {revision}` fetches them."
        )
    return Path(_snapshot(spec, revision, local_files_only=True))


def is_here(spec: ModelSpec, revision: str, home: Path) -> bool:
    """Whether the weights of that revision are whole on this machine."""
    return spec.bundled or _note(spec, revision, home).exists()


def resolve(spec: ModelSpec, revision: str | None = None) -> str:
    """The commit that `revision` (a branch, a tag, a commit; None: the newest) is on the hub.

    Raises `InputError` saying what to do.
    """
    from huggingface_hub import HfApi

    wanted = revision or spec.branch
    return str(_asking(spec, wanted)(lambda: HfApi().model_info(spec.source, revision=wanted).sha))


def pull(spec: ModelSpec, revision: str, home: Path) -> Path:
    """Fetches what is not here yet of that commit, with a progress bar; returns its folder.

    Raises `InputError` saying what to do. What a broken-off download got is not fetched again.
    """
    folder = Path(_asking(spec, revision)(lambda: _snapshot(spec, revision)))
    if not (folder / "model_index.json").exists():
        raise InputError(
            f"{spec.source} at {revision} is no diffusers pipeline: it has no model_index.json."
        )
    note = _note(spec, revision, home)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{spec.source}\n")
    return folder


def _snapshot(spec: ModelSpec, revision: str, *, local_files_only: bool = False) -> str:
    from huggingface_hub import snapshot_download

    return str(
        snapshot_download(
            spec.source,
            revision=revision,
            allow_patterns=FILES,
            local_files_only=local_files_only,
        )
    )


def _asking(spec: ModelSpec, revision: str | None) -> Callable[[Callable[[], Any]], Any]:
    """Calls the hub; its errors become sentences."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"https://huggingface.co/{spec.source}"

    def ask(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GatedRepoError:
            why = f"is gated: accept its licence at {page} and set HF_TOKEN to your token"
        except RevisionNotFoundError:
            why = f"has no revision {revision!r}; leave --revision out for the newest"
        except RepositoryNotFoundError:
            why = f"is not on the hub, or your HF_TOKEN may not see it: {page}"
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            why = f"cannot be fetched, try again when the hub answers: {first}"
        raise InputError(f"The model {spec.name!r} ({spec.source}) {why}.")

    return ask


def _note(spec: ModelSpec, revision: str, home: Path) -> Path:
    return home / "models" / spec.name / revision


def _bundled_folder(spec: ModelSpec) -> Path:
    return Path(__file__).parent / spec.source.removeprefix("package:")


@cache
def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(os.fsencode(path.relative_to(folder).as_posix()))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
