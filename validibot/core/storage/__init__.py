"""Files at `file://` and `gs://` behind one interface."""

from validibot.core.storage.base import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageError,
    StoredObject,
)

__all__ = [
    "ObjectExists",
    "ObjectNotFound",
    "ObjectTooLarge",
    "Storage",
    "StorageError",
    "StoredObject",
]
