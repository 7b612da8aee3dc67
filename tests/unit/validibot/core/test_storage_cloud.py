"""Cloud Storage without a cloud; the rest is in tests/contract/test_storage.py."""

import pytest
from google.auth.exceptions import GoogleAuthError

from validators.sdk.storage import StorageError, StorageOptions, gs


def test_missing_credentials_raise_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def client() -> None:
        raise GoogleAuthError

    monkeypatch.setattr(gs, "Client", client)

    with pytest.raises(StorageError, match="No credentials for Cloud Storage"):
        next(gs.GoogleStorage(StorageOptions()).stream("gs://bucket/a.txt"))
