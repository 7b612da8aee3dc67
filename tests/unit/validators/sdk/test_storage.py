"""URIs that the SDK's storage refuses; its contract is in tests/contract/test_storage.py."""

import pytest

from validators.sdk.storage import StorageError, open_storage


@pytest.mark.parametrize(
    "uri",
    ["file://host/x", "file:relative", "file:///a/../b", "http://x/y", "s3://b/o", "", "plain"],
)
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(StorageError):
        open_storage(uri).read(uri, limit=1)
