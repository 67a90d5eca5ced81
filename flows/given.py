"""What users gave for their films, from the store to the machines that render."""

from __future__ import annotations

from pathlib import Path

from film.errors import InputError, StoreError, StoreFullError, StoreUnreachableError
from storage import ObjectStore


def fetch_given(store: ObjectStore, key: str, path: Path, what: str) -> None:
    """Fetches `key` to `path`.

    Raises `InputError` where it is gone, naming `what` it was, since only the user can put it back.
    """
    try:
        store.get_file(key, path)
    except (StoreUnreachableError, StoreFullError):
        raise
    except StoreError as error:
        raise InputError(
            f"{what} is gone from the store, or damaged: submit the film again, which puts it "
            f"back ({error})."
        ) from error
