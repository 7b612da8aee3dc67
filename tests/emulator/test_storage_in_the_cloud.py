"""Cloud Storage through the proxy, with unmodified clients."""

import io
import os
import time

import google.auth
import pytest
import requests
from google.api_core.exceptions import PreconditionFailed
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client

from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs
from tests.unit.devenv.gcp.storage.hmac_signer import AWS, HOST, HmacSigner


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
            assert session.get(url, timeout=30).content == b"data"


def test_client_restores_a_soft_deleted_object(
    act_as: ActAs, config: CloudConfig, name: str
) -> None:
    act_as("admin")
    with Client(project=config.project) as client:
        bucket = client.bucket(f"soft-delete-{os.urandom(4).hex()}")
        bucket.soft_delete_policy.retention_duration_seconds = 7 * 86_400
        bucket.create()
        blob = bucket.blob(name)
        blob.upload_from_string(b"data")
        blob.delete()
        [kept] = client.list_blobs(bucket, soft_deleted=True)
        restored = bucket.restore_blob(name, generation=kept.generation)
        assert kept.hard_delete_time > kept.soft_delete_time
        assert restored.download_as_bytes() == b"data"
        restored.delete()
        bucket.delete()


def test_hmac_key_of_client_signs_requests_like_those_of_s3(
    act_as: ActAs, config: CloudConfig, name: str
) -> None:
    act_as("admin")
    url = f"/{config.buckets[0]}/{name}"
    with Client(project=config.project) as client:
        key, secret = client.create_hmac_key(config.email("web"))
        signer = HmacSigner((key.access_id, secret), AWS, time.time())
        headers = signer.headers("PUT", url, b"data")
        stored = requests.put(f"https://{HOST}{url}", b"data", headers=headers, timeout=30)
        assert client.bucket(config.buckets[0]).blob(name).download_as_bytes() == b"data"
        key.state = "INACTIVE"
        key.update()
        read = signer.headers("GET", url, b"")
        refused = requests.get(f"https://{HOST}{url}", headers=read, timeout=30)
        key.delete()
        listed = client.list_hmac_keys(service_account_email=config.email("web"))
        assert key.access_id not in [one.access_id for one in listed]

    assert (stored.status_code, refused.status_code) == (200, 403)
