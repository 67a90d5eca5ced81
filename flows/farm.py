"""The parts of an installation, made from its settings: database, store, scratch folder."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path

from db.engine import Database, open_database
from db.schema import migrate
from film.errors import StoreFullError
from film.settings import Settings, settings
from flows.machine import process_identity
from flows.machine.scratch import Scratch, ensure_writable
from storage import ObjectStore, open_store


class Farm:
    """The parts of one installation, shared by threads. Making them reads and writes nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.owner = process_identity.this_process()
        """The name under which this process holds leases."""
        self.scratch = Scratch(settings.home / "scratch", self.owner)
        """This process's temporary files."""

    @cached_property
    def database(self) -> Database:
        """The database, not yet connected to. Raises `SettingsError`."""
        return open_database(self.settings.effective_database_url)

    @cached_property
    def store(self) -> ObjectStore:
        """The object store, not yet connected to. Raises `SettingsError`."""
        return open_store(
            self.settings.effective_store_url,
            endpoint_url=self.settings.s3_endpoint_url,
            checksums=self.settings.s3_checksums,
        )

    @property
    def is_new(self) -> bool:
        """True if the embedded database does not exist yet, so that nothing can be in it."""
        return not (self.settings.database_url or (self.settings.home / "longreel.db").exists())

    def prepare_database(self) -> None:
        """Creates the database's tables or updates them to this version.

        Raises `DatabaseError`, `SettingsError`.
        """
        if not self.settings.database_url:
            ensure_writable(self.settings.home)
        migrate(self.database)

    def close(self) -> None:
        """Removes the scratch folder and closes the database."""
        self.scratch.close()
        if "database" in self.__dict__:
            self.database.close()


def open_farm(*, create: bool = True) -> Farm:
    """The installation that the environment describes, with tables of this version.

    Unless `create`, an embedded database that does not exist yet is not created. Raises
    `SettingsError`, `DatabaseError`.
    """
    farm = Farm(settings())
    if create or not farm.is_new:
        farm.prepare_database()
    return farm


def require_space(folder: Path, needed: int = 50 * 2**20) -> None:
    """Raises `StoreFullError` if the disk of `folder` has fewer than `needed` bytes free."""
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StoreFullError(
            f"The disk of {folder} has {free // 2**20} MiB left and {needed // 2**20} MiB are "
            f"needed; free some space, or move LONGREEL_HOME to another disk."
        )
