"""Temporary files of a process: in a folder of its own, removed when the process ends.

A process that was killed leaves its folder; the next process to make one removes those.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from pathlib import Path

from filelock import FileLock, Timeout

from film.errors import SettingsError

logger = logging.getLogger(__name__)

_IN_USE = "in-use"


class Scratch:
    """The temporary files of one process, shared by its threads."""

    def __init__(self, parent: Path, owner: str) -> None:
        """`parent` holds the folders of all processes; `owner` names this one."""
        self._parent = parent
        self._mine = parent / owner.replace("/", ",")
        self._lock: FileLock | None = None
        self._opening = threading.Lock()

    def open(self) -> Path:
        """The folder, which is created if it does not exist (any more).

        Raises `SettingsError` if it cannot be created.
        """
        with self._opening:
            if self._lock is not None and self._mine.is_dir():
                return self._mine
            if self._lock is not None:  # the user removed the folder
                self._lock.release()
            ensure_writable(self._parent)
            # One at a time: a folder that is created but not locked yet looks abandoned.
            with FileLock(self._parent_lock):
                for folder in self._parent.iterdir():
                    _remove_if_abandoned(folder)
                self._mine.mkdir(exist_ok=True)
                self._lock = FileLock(self._mine / _IN_USE)
                self._lock.acquire()
            return self._mine

    def close(self) -> None:
        """Removes the folder."""
        with self._opening:
            if self._lock is None:
                return
            try:
                # Not while another process looks for abandoned folders and puts its lock into it.
                with FileLock(self._parent_lock):
                    shutil.rmtree(self._mine, ignore_errors=True)
            except OSError as error:
                logger.warning("The scratch folder %s was not removed: %s", self._mine, error)
            self._lock.release()
            self._lock = None

    @property
    def _parent_lock(self) -> Path:
        return self._parent.with_name(f"{self._parent.name}.lock")


def ensure_writable(folder: Path) -> Path:
    """Creates `folder` if it is missing, and returns it. Raises `SettingsError` if that fails.

    Only this user may read what will be in it: prompts, films, the database.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder {folder} cannot be created ({error.strerror}); LONGREEL_HOME must be a "
            f"folder that you can write to."
        ) from None
    if not os.access(folder, os.W_OK):
        raise SettingsError(
            f"The folder {folder} cannot be written to; set LONGREEL_HOME to one that can."
        )
    return folder


def _remove_if_abandoned(folder: Path) -> None:
    try:
        with FileLock(folder / _IN_USE, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError) as error:
        logger.debug("%s is in use, or was removed in this moment: %s", folder, error)
