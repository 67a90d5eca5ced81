"""Weights: where they are on this machine, of which revision, and how to get them.

Weights from the hub lie in its own cache, where other programs find them too; which files belong
to them is noted in LONGREEL_HOME once a download came to its end. Only what diffusers loads is
taken: safetensors and configuration, and no code.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from film.errors import InputError, WeightsMissingError
from film.models import ModelSpec

INDEX = "model_index.json"
"""Names the components of a pipeline; each lies in a folder of its name."""

FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Of a component; weights in other formats could hold code."""

VARIANTS = "*.*.safetensors"
"""The same weights once more, rounded: `model.fp16.safetensors`."""

HUB_SECONDS = 30
"""How long the hub may take to say what a repository holds."""


def bundled_revision(spec: ModelSpec) -> str:
    """Digest of a bundled model's files (16 hex digits): other weights are another revision."""
    return _digest(_bundled_folder(spec))


def folder_of(spec: ModelSpec, revision: str, home: Path) -> Path:
    """The folder of the weights on this machine. Raises `WeightsMissingError`."""
    if spec.bundled:
        return _bundled_folder(spec)
    folder = _whole_folder(spec, revision, home)
    if folder is None:
        raise WeightsMissingError(
            f"The weights of {spec.name!r} at revision {revision} are not on this machine: "
            f"`longreel models pull {spec.name} --revision {revision}` fetches them."
        )
    return folder


def is_here(spec: ModelSpec, revision: str, home: Path) -> bool:
    """Whether the weights of that revision are whole on this machine."""
    return spec.bundled or _whole_folder(spec, revision, home) is not None


def resolve(spec: ModelSpec, revision: str | None = None) -> str:
    """The commit that `revision` (a branch, a tag, a commit; None: the newest) is on the hub.

    Raises `InputError` saying what to do.
    """
    wanted = revision or spec.branch
    with _asking(spec, wanted):
        return str(_ask(spec, wanted).sha)


def pull(spec: ModelSpec, revision: str, home: Path) -> None:
    """Fetches what is not here yet of that commit, in a terminal with a progress bar.

    Raises `InputError` saying what to do. The files that a broken-off download brought to their
    end are not fetched again.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    if is_here(spec, revision, home):
        return
    with _asking(spec, revision):
        # Asked first: where the hub is away, a download takes for whole whatever is in the cache.
        names = [file.rfilename for file in _ask(spec, revision).siblings or ()]
        if INDEX not in names:
            raise InputError(
                f"{spec.source} at {revision} is no diffusers pipeline: it has no {INDEX}."
            )
        index = json.loads(Path(hf_hub_download(spec.source, INDEX, revision=revision)).read_text())
        files = files_of(index, names)
        found = snapshot_download(spec.source, revision=revision, allow_patterns=files)
    _write_note(_note(spec, revision, home), Path(found), files)
    if not is_here(spec, revision, home):
        raise InputError(
            f"The weights of {spec.name!r} came only in part; `longreel models pull {spec.name}` "
            f"fetches the rest."
        )


def files_of(index: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of a repository's files that its pipeline is loaded from.

    `index` is its model_index.json. Many repositories hold the same weights again, for other
    programs beside the components' folders, or rounded in them.
    """
    parts = {
        name
        for name, kind in index.items()
        if isinstance(kind, list) and kind and all(isinstance(word, str) for word in kind)
    }
    return [
        INDEX,
        *(
            name
            for name in sorted(names)
            if name.partition("/")[0] in parts
            and any(fnmatch(name, pattern) for pattern in FILES)
            and not fnmatch(name, VARIANTS)
        ),
    ]


def _ask(spec: ModelSpec, revision: str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi().model_info(spec.source, revision=revision, timeout=HUB_SECONDS)


@contextmanager
def _asking(spec: ModelSpec, revision: str | None) -> Iterator[None]:
    """The hub's errors become sentences, and it says nothing of its own but a progress bar."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bars()
    page = f"https://huggingface.co/{spec.source}"
    try:
        yield
        return
    except InputError:
        raise
    except GatedRepoError:
        why = f"is gated: accept its licence at {page} and set HF_TOKEN to your token"
    except RevisionNotFoundError:
        why = f"has no revision {revision!r}; leave --revision out for the one that the farm uses"
    except RepositoryNotFoundError:
        why = f"is not on the hub, or your HF_TOKEN may not see it: {page}"
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            why = "was refused: the hub does not accept your HF_TOKEN, set a valid one or none"
        else:
            why = f"cannot be fetched, try again when the hub is well: {_first_line(error)}"
    except Exception as error:  # noqa: BLE001  (HTTP, JSON, Xet: no common base but this one)
        if _of_a_disk(error):
            why = f"cannot be written, free some space or give HF_HOME another folder: {error}"
        else:
            why = f"cannot be fetched, try again when the hub answers: {_first_line(error)}"
    raise InputError(f"The model {spec.name!r} ({spec.source}) {why}.")


def _of_a_disk(error: Exception) -> bool:
    """Whether writing failed; the network's errors have no number or a kind of their own."""
    network = (ConnectionError, TimeoutError)
    return isinstance(error, OSError) and bool(error.errno) and not isinstance(error, network)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


def _whole_folder(spec: ModelSpec, revision: str, home: Path) -> Path | None:
    """The folder that the note names, where all files that it lists are still there."""
    try:
        folder, *files = _note(spec, revision, home).read_text().splitlines()
    except (OSError, ValueError):
        return None
    whole = files and all(Path(folder, name).exists() for name in files)
    return Path(folder) if whole else None


def _write_note(note: Path, folder: Path, files: list[str]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    begun = note.with_name(f"{note.name}.{os.getpid()}")
    begun.write_text("\n".join([str(folder), *files]) + "\n")
    begun.replace(note)


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
