"""The Hugging Face hub: what a repository holds, and its errors in our words."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from film.errors import InputError
from film.loras import HubPlace

HUB_SECONDS = 30
"""Longest time that the hub may take to list a repository, in seconds."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
LISTED = 12
"""Files of a repository that a sentence names."""


MOST_FILE_BYTES = 8_000_000_000
"""Of a LoRA. Whoever may submit films may name one: a whole model would fill the disk."""


def holds(repository: str, revision: str | None, *, sizes: bool = False) -> Any:
    """The hub's description of a repository: its commit (`sha`) and files (`siblings`), with their
    `size` in bytes if that is wanted."""
    from huggingface_hub import HfApi

    return HfApi().model_info(
        repository, revision=revision, timeout=HUB_SECONDS, files_metadata=sizes
    )


@contextmanager
def asking(what: str, repository: str, revision: str | None) -> Iterator[None]:
    """Turns the hub's errors into sentences about `what`, and silences all but its progress bar.
    Raises `InputError`."""
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
    page = f"https://huggingface.co/{repository}"
    try:
        yield
        return
    except InputError:
        raise
    except GatedRepoError:
        why = f"is gated: accept its licence at {page} and set HF_TOKEN to your token"
    except RevisionNotFoundError:
        why = f"has no revision {revision!r}; leave it out for the usual one"
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
    raise InputError(f"{what} ({repository}) {why}.")


def _of_a_disk(error: Exception) -> bool:
    """True if writing failed; errors of the network have no number, or a class of their own."""
    network = (ConnectionError, TimeoutError)
    return isinstance(error, OSError) and bool(error.errno) and not isinstance(error, network)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


def fetch_file(what: str, place: HubPlace) -> tuple[str, Path]:
    """Fetches a `.safetensors` file to this machine; returns its name in the repository and its
    path.

    If `place` names none, it is the only one of the repository. A file of a commit that was fetched
    before needs no hub, because it never changes. Raises `InputError`.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    if place.file and _COMMIT.fullmatch(place.revision or ""):
        here = try_to_load_from_cache(place.repository, place.file, revision=place.revision)
        if isinstance(here, str):
            return place.file, Path(here)
    with asking(what, place.repository, place.revision):
        found = holds(place.repository, place.revision, sizes=True)
        names = [file.rfilename for file in found.siblings or ()]
        name = _chosen(place, [name for name in names if name.endswith(".safetensors")])
        _require_size(what, next(file for file in found.siblings if file.rfilename == name))
        return name, Path(hf_hub_download(place.repository, name, revision=found.sha))


def _require_size(what: str, file: Any) -> None:
    size = getattr(file, "size", None) or 0
    if size > MOST_FILE_BYTES:
        raise InputError(
            f"{what} has {size / 1e9:.1f} GB, and a LoRA has at most "
            f"{MOST_FILE_BYTES / 1e9:.0f}: name another file."
        )


def _chosen(place: HubPlace, names: list[str]) -> str:
    if place.file in names:
        return place.file
    listed = ", ".join(sorted(names)[:LISTED]) or "none"
    if place.file:
        raise InputError(
            f"{place.repository} holds no {place.file}; its .safetensors files are: {listed}."
        )
    if len(names) != 1:
        raise InputError(
            f"{place.repository} holds {len(names)} .safetensors files, name one as in "
            f"{place.repository}/FILE: {listed}."
        )
    return names[0]
