"""Where envelopes and files live: `gs://` and `file://` behind one interface."""

from functools import cache
from importlib import import_module
from urllib.parse import urlsplit

from validators.sdk.capability import Capability
from validators.sdk.storage.base import Storage, StorageError

_IMPLEMENTATIONS = {"gs": "validators.sdk.storage.gs", "file": "validators.sdk.storage.file"}


def open_storage(uri: str, capability: Capability | None = None) -> Storage:
    """The storage that holds `uri`, of which there is one per process.

    Where a `capability` is given, gs:// is open no further than it reaches.
    """
    scheme = urlsplit(uri).scheme
    if scheme not in _IMPLEMENTATIONS:
        raise StorageError(f"{uri!r} is not a gs:// or file:// URI")
    return _open(scheme, capability)


@cache
def _open(scheme: str, capability: Capability | None) -> Storage:
    """Only the client library that is needed is imported."""
    storage: Storage = import_module(_IMPLEMENTATIONS[scheme]).open_storage(capability)
    return storage
