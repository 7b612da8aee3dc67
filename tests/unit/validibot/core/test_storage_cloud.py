"""Cloud Storage where there is no cloud; the rest is in tests/contract."""

import pytest
from google.auth.exceptions import GoogleAuthError

from validibot.core.storage import StorageError, gcs


def test_without_credentials_it_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def client() -> None:
        raise GoogleAuthError

    monkeypatch.setattr(gcs, "Client", client)

    with pytest.raises(StorageError, match="cannot be used here"):
        next(gcs.CloudStorage().stream("gs://bucket/a.txt"))
