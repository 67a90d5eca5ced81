"""Object storage: takes and films as objects by key, in a folder or in S3."""

from __future__ import annotations

from storage.base import ObjectInfo, ObjectStore
from storage.urls import open_store

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]
