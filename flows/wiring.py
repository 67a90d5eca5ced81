"""Settings become the parts that everything else works with."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from db.engine import Database, open_database
from db.schema import migrate
from film.errors import StoreFullError
from film.settings import Settings, settings
from flows import owner
from storage import ObjectStore, open_store


@dataclass(frozen=True)
class Farm:
    """The parts of one installation; opened when first used, shared by threads."""

    settings: Settings

    @cached_property
    def database(self) -> Database:
        """The database with tables of this version. Raises `DatabaseError`, `SettingsError`."""
        if not self.settings.database_url:
            owner.writable(self.settings.home)
        database = open_database(self.settings.effective_database_url)
        migrate(database)
        return database

    @property
    def is_new(self) -> bool:
        """Whether the embedded database was never opened, and nothing can be in it."""
        return not (self.settings.database_url or (self.settings.home / "longreel.db").exists())

    @cached_property
    def store(self) -> ObjectStore:
        """The object store, not yet asked anything. Raises `SettingsError`."""
        return open_store(
            self.settings.effective_store_url,
            endpoint_url=self.settings.s3_endpoint_url,
            checksums=self.settings.s3_checksums,
        )

    @cached_property
    def owner(self) -> str:
        """The name under which this process holds leases."""
        return owner.this_process()

    @property
    def scratch(self) -> Path:
        """A folder for this process's temporary files; those of dead processes are removed."""
        if not self._scratch[0].is_dir():  # somebody tidied up
            self.__dict__.pop("_scratch")[1].release()
        return self._scratch[0]

    @cached_property
    def _scratch(self) -> tuple[Path, FileLock]:
        return owner.own_folder(self.settings.home / "scratch", self.owner)

    def close(self) -> None:
        """Removes the scratch folder and closes the database."""
        if "_scratch" in self.__dict__:
            folder, lock = self._scratch
            owner.leave_folder(folder, lock)
        if "database" in self.__dict__:
            self.database.close()


def open_farm() -> Farm:
    """The installation that the environment describes. Raises `SettingsError`."""
    return Farm(settings())


def require_space(folder: Path, needed: int = 50 * 2**20) -> None:
    """Raises `StoreFullError` where less than `needed` bytes are free around `folder`."""
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StoreFullError(
            f"The disk of {folder} has {free // 2**20} MiB left and {needed // 2**20} MiB are "
            f"needed; free some space, or move LONGREEL_HOME to another disk."
        )
