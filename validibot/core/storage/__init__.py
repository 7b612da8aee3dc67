"""The product's files: `validators.sdk.storage`, wired by Django's settings.

`DATA_ROOT` is where all files are. At `file://` containers of validators write below it too, so no
symbolic link below it is followed. Requests wait for Cloud Storage for half a minute at the most.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings

from validators.sdk.storage import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageError,
    StorageOptions,
    StoredObject,
    open_storage,
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

_RETRY_SECONDS = 30.0


def get_storage(uri: str) -> Storage:
    """Return the storage that holds `uri`. Raises StorageError for an unknown scheme."""
    root = urlsplit(settings.DATA_ROOT)
    untrusted = Path(unquote(root.path)) if root.scheme == "file" else None
    return open_storage(uri, StorageOptions(retry_seconds=_RETRY_SECONDS, untrusted=untrusted))
