"""Deletion of stored files by tasks, which are delivered again after an outage of the storage."""

from validibot.core.storage import StorageError, get_storage
from validibot.dispatch import TryLater


def delete_files(*uris: str) -> None:
    """Delete objects, and everything below a URI that ends with a slash. Raises TryLater."""
    try:
        for uri in uris:
            storage = get_storage(uri)
            (storage.delete_below if uri.endswith("/") else storage.delete)(uri)
    except StorageError as error:
        raise TryLater(str(error)) from error
