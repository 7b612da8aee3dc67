"""Files at `file://` and `gs://` behind one interface."""

from functools import cache
from urllib.parse import urlsplit

from django.utils.module_loading import import_string

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
    "get_storage",
]

# By name, so that a deployment without Google Cloud never imports its client.
_SCHEMES = {
    "file": "validibot.core.storage.files.FileStorage",
    "gs": "validibot.core.storage.gcs.CloudStorage",
}


def get_storage(uri: str) -> Storage:
    """Return the storage that holds `uri`. Raises StorageError for an unknown scheme."""
    return _storage(urlsplit(uri).scheme)


@cache
def _storage(scheme: str) -> Storage:
    try:
        storage: Storage = import_string(_SCHEMES[scheme])()
    except KeyError:
        raise StorageError(f"Files live at file:// or gs://, not at {scheme!r}://.") from None
    return storage
