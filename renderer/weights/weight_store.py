"""Weights: their folders on this machine, their revisions, and fetching them.

Weights from the hub are in its own cache, in which other programs find them too; a note in
LONGREEL_HOME lists their files once a download is complete. Only what diffusers loads is fetched:
safetensors and configuration, and no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import quote

from film.errors import InputError, WeightsMissingError
from film.families.lookup import find_model
from film.models import ModelSpec
from media.atomic_files import replacing
from renderer.weights import hub, local_weights
from renderer.weights.pipeline_files import INDEX, files_of


def bundled_revision(spec: ModelSpec) -> str:
    """Digest of a bundled model's files (16 hex digits): other weights are another revision."""
    return _digest(_bundled_folder(spec))


def folder_of(spec: ModelSpec, revision: str, home: Path) -> Path:
    """The folder of the weights on this machine; of a single file, the one of all that is not in
    it. Raises `WeightsMissingError`."""
    if spec.bundled:
        return _bundled_folder(spec)
    if spec.local:
        return _local_folder(spec, revision, home)
    folder = _whole_folder(spec, revision, home)
    if folder is None:
        raise WeightsMissingError(
            f"The weights of {spec.name!r} at revision {revision} are not on this machine: "
            f"`longreel models pull {shlex.quote(spec.name)} --revision {revision} --no-pin` "
            f"fetches them."
        )
    return folder


def is_here(spec: ModelSpec, revision: str, home: Path) -> bool:
    """True if the weights of that revision are complete on this machine."""
    try:
        folder_of(spec, revision, home)
    except WeightsMissingError:
        return False
    return True


def revisions_here(spec: ModelSpec, home: Path, *, reading: bool = True) -> list[str]:
    """All revisions of the weights that are whole on this machine.

    With `reading` False, local weights whose digest is not known yet are left out.
    """
    if spec.bundled:
        return [bundled_revision(spec)]
    if not spec.local:
        notes = _note(spec, "", home)
        there = notes.iterdir() if notes.is_dir() else ()
        found = sorted(note.name for note in there if not note.name.startswith("."))
        return [revision for revision in found if _whole_folder(spec, revision, home)]
    try:
        mine = local_weights.revision(spec, home, reading=reading)
    except InputError:
        return []
    if mine is None:
        return []
    bases = revisions_here(find_model(spec.row), home) if spec.in_one_file else [""]
    return [joined(mine, base) for base in bases]


def local_revision(spec: ModelSpec, base: str, home: Path) -> str:
    """The revision of local weights as they are now; `base` is that of the row if they are a single
    file, whose other parts are the row's. Raises `InputError`."""
    mine = local_weights.revision(spec, home)
    assert mine is not None
    return joined(mine, base if spec.in_one_file else "")


def joined(mine: str, base: str) -> str:
    """One revision for a file and for the row's weights around it."""
    return f"{mine}+{base}" if base else mine


def _local_folder(spec: ModelSpec, revision: str, home: Path) -> Path:
    wanted, _, base = revision.partition("+")
    try:
        found = local_weights.revision(spec, home)
    except InputError as error:
        raise WeightsMissingError(
            f"{error} The film was planned with what was there at revision {wanted}: put it back, "
            f"or leave the film to a machine that has it."
        ) from None
    if found != wanted:
        raise WeightsMissingError(
            f"What lies at {spec.source} on this machine is not what the film was planned with "
            f"(revision {found}, not {wanted}): put that back, or submit the film again."
        )
    return folder_of(find_model(spec.row), base, home) if base else Path(spec.source)


def resolve(spec: ModelSpec, revision: str | None = None) -> str:
    """The commit that `revision` (a branch, a tag, a commit; None: the newest) is on the hub.

    Raises `InputError` saying what to do.
    """
    wanted = revision or spec.branch
    with hub.asking(f"The model {spec.name!r}", spec.source, wanted):
        return str(hub.holds(spec.source, wanted).sha)


def pull(
    spec: ModelSpec,
    revision: str,
    home: Path,
    on_start: Callable[[int, int], None] = lambda files, size_bytes: None,
) -> None:
    """Fetches what is not here yet of that commit, in a terminal with a progress bar.

    `on_start` is called before, with the number of files and the bytes of all of them. Raises
    `InputError` saying what to do. The files that a broken-off download brought to their end are
    not fetched again.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    if is_here(spec, revision, home):
        return
    with hub.asking(f"The model {spec.name!r}", spec.source, revision):
        # Asked first: while the hub is away, a download takes whatever is in the cache for
        # complete.
        listed = hub.holds(spec.source, revision, sizes=True).siblings or ()
        sizes = {file.rfilename: file.size or 0 for file in listed}
        names = list(sizes)
        if INDEX not in names:
            raise InputError(
                f"{spec.source} at {revision} is not a diffusers pipeline: it has no {INDEX}."
            )
        index = json.loads(Path(hf_hub_download(spec.source, INDEX, revision=revision)).read_text())
        files = files_of(index, names)
        on_start(len(files), sum(sizes[name] for name in files))
        found = snapshot_download(spec.source, revision=revision, allow_patterns=files)
    _write_note(_note(spec, revision, home), Path(found), files)
    if not is_here(spec, revision, home):
        raise InputError(
            f"The weights of {spec.name!r} came only in part; "
            f"`longreel models pull {shlex.quote(spec.name)}` fetches the rest."
        )


def _whole_folder(spec: ModelSpec, revision: str, home: Path) -> Path | None:
    """The folder that the note names, if all files that it lists are still there."""
    try:
        folder, *files = _note(spec, revision, home).read_text().splitlines()
    except (OSError, ValueError):
        return None
    whole = files and all(Path(folder, name).exists() for name in files)
    return Path(folder) if whole else None


def _write_note(note: Path, folder: Path, files: list[str]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    with replacing(note) as begun:
        begun.write_text("\n".join([str(folder), *files]) + "\n")


def _note(spec: ModelSpec, revision: str, home: Path) -> Path:
    return home / "models" / quote(spec.name, safe="=") / revision


def _bundled_folder(spec: ModelSpec) -> Path:
    return Path(__file__).parents[1] / spec.source.removeprefix("package:")


@cache
def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(os.fsencode(path.relative_to(folder).as_posix()))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
