"""Cloud Storage through the proxy, with unmodified clients."""

import io
import os

import google.auth
import pytest
from google.api_core.exceptions import PreconditionFailed
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client

from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs


@pytest.fixture
def name() -> str:
    return f"tests/{os.urandom(6).hex()}/a"


def test_create_only_applies_to_large_objects(
    act_as: ActAs, config: CloudConfig, name: str
) -> None:
    act_as("web")
    data = os.urandom(9 * 1024 * 1024)
    with Client(project=config.project) as client:
        blob = client.bucket(config.buckets[0]).blob(name)
        blob.upload_from_file(io.BytesIO(data), if_generation_match=0)
        with pytest.raises(PreconditionFailed):
            blob.upload_from_file(io.BytesIO(data), if_generation_match=0)
        assert blob.download_as_bytes() == data


def test_object_is_served_on_each_storage_host(
    act_as: ActAs, config: CloudConfig, name: str
) -> None:
    act_as("web")
    bucket = config.buckets[0]
    with Client(project=config.project) as client:
        client.bucket(bucket).blob(name).upload_from_string(b"data")
    credentials, _ = google.auth.default()
    quoted = name.replace("/", "%2F")
    with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
        for url in (
            f"https://storage.googleapis.com/{bucket}/{name}",
            f"https://{bucket}.storage.googleapis.com/{name}",
            f"https://www.googleapis.com/storage/v1/b/{bucket}/o/{quoted}?alt=media",
            f"https://www.googleapis.com/download/storage/v1/b/{bucket}/o/{quoted}?alt=media",
        ):
            assert session.get(url, timeout=5).content == b"data"
