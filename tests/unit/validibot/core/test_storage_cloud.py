"""Cloud Storage where there is no cloud; the rest is in tests/contract."""

import pytest
from google.auth.exceptions import DefaultCredentialsError

from validibot.core.storage import StorageError, gcs


def test_without_credentials_it_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def client() -> None:
        raise DefaultCredentialsError("none were found")

    monkeypatch.setattr(gcs, "Client", client)

    with pytest.raises(StorageError, match="none were found"):
        next(gcs.CloudStorage().stream("gs://bucket/a.txt"))
