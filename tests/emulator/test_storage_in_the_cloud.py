"""Cloud Storage through the proxy, with unmodified clients."""

import io
import os
from typing import Any

import boto3
import google.auth
import pytest
import requests
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError
from google.api_core.exceptions import Forbidden, PreconditionFailed
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud.storage import Client
from pytest_django import Settings

from config.env import env
from config.settings.media import MEDIA_CACHE_CONTROL, media_storage, media_url
from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs
from tests.waiting import LIMIT
from validibot.core.storage import media


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
            assert session.get(url, timeout=LIMIT).content == b"data"


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


def test_boto3_works_with_an_hmac_key(act_as: ActAs, config: CloudConfig) -> None:
    act_as("admin")
    own, folder = config.buckets[0], f"boto-{os.urandom(4).hex()}"
    when_required = BotoConfig(
        request_checksum_calculation="when_required", response_checksum_validation="when_required"
    )
    with Client(project=config.project) as client:
        key, secret = client.create_hmac_key(config.email("admin"))
        s3 = boto3.client(
            "s3",
            endpoint_url="https://storage.googleapis.com",
            region_name="auto",
            aws_access_key_id=key.access_id,
            aws_secret_access_key=secret,
            config=when_required,
        )
        for letter in "cab":
            s3.put_object(Bucket=own, Key=f"{folder}/{letter} ü", Body=letter.encode())
        s3.put_object(Bucket=own, Key=f"{folder}/below/d", Body=b"d")
        read = s3.get_object(Bucket=own, Key=f"{folder}/a ü")["Body"].read()
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=own, Prefix=f"{folder}/", Delimiter="/", PaginationConfig={"PageSize": 2}
        )
        listed = list(pages)
        link = s3.generate_presigned_url("get_object", {"Bucket": own, "Key": f"{folder}/b ü"})
        presigned = requests.get(link, timeout=LIMIT).text
        buckets = [each["Name"] for each in s3.list_buckets()["Buckets"]]
        status = s3.head_bucket(Bucket=own)["ResponseMetadata"]["HTTPStatusCode"]
        _try_bucket(s3, client)
        key.state = "INACTIVE"
        key.update()
        with pytest.raises(ClientError, match="InvalidSecurity"):
            s3.list_objects_v2(Bucket=own)
        key.delete()

    assert (read, presigned, status, own in buckets) == (b"a", "b", 200, True)
    names = [each["Key"] for page in listed for each in page.get("Contents", [])]
    assert names == [f"{folder}/{letter} ü" for letter in "abc"]
    prefixes = [each["Prefix"] for page in listed for each in page.get("CommonPrefixes", [])]
    assert prefixes == [f"{folder}/below/"]


def _try_bucket(s3: Any, client: Client) -> None:
    """Create a bucket by boto3, switch its versions on, and delete it."""
    name = f"boto-{os.urandom(4).hex()}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    tags = [{"Key": "team", "Value": "energy"}]
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == tags
    begun = s3.create_multipart_upload(Bucket=name, Key="large")
    assert [each["Key"] for each in s3.list_multipart_uploads(Bucket=name)["Uploads"]] == ["large"]
    s3.abort_multipart_upload(Bucket=name, Key="large", UploadId=begun["UploadId"])
    assert client.get_bucket(name).versioning_enabled
    s3.delete_bucket(Bucket=name)
    assert not client.bucket(name).exists()


def test_public_media_are_read_by_name_without_an_account(
    act_as: ActAs,
    cloud: Cloud,
    config: CloudConfig,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    act_as("worker")
    bucket = f"{cloud.plain_url}/{config.buckets[1]}/"
    told = {"GCS_MEDIA_BUCKET": config.buckets[1], "MEDIA_URL": bucket}
    monkeypatch.setattr(env, "ENVIRON", told)
    settings.MEDIA_URL = media_url()
    storage = media_storage(settings.DATA_ROOT, settings.MEDIA_URL)
    settings.STORAGES = settings.STORAGES | {"default": storage}
    address = media.address_of("featured/a.webp")

    media.put("featured/a.webp", b"RIFF")
    found = requests.get(address, timeout=LIMIT)

    assert (found.content, media.read("featured/a.webp")) == (b"RIFF", b"RIFF")
    assert found.headers["Cache-Control"] == MEDIA_CACHE_CONTROL
    assert found.headers["Content-Type"] == "image/webp"
    assert requests.get(bucket, timeout=LIMIT).status_code in (401, 403)
    media.delete("featured/a.webp")
    assert requests.get(address, timeout=LIMIT).status_code in (401, 403)


def test_access_control_lists_of_client_decide(act_as: ActAs, config: CloudConfig) -> None:
    act_as("web")
    credentials, _ = google.auth.default(scopes=Client.SCOPE)
    # Refreshed now, because the variables of this moment tell whose token it is.
    credentials.refresh(Request())  # type: ignore[no-untyped-call]
    theirs = Client(project=config.project, credentials=credentials)
    act_as("admin")
    with Client(project=config.project) as client, theirs:
        bucket = client.bucket(f"lists-{os.urandom(4).hex()}")
        bucket.iam_configuration.uniform_bucket_level_access_enabled = False
        bucket.create()
        blob, link = bucket.blob("a"), f"https://storage.googleapis.com/{bucket.name}/a"
        blob.upload_from_string(b"data")
        with pytest.raises(Forbidden):
            theirs.bucket(bucket.name).blob("a").download_as_bytes()
        blob.acl.user(config.email("web")).grant_read()
        blob.acl.save()
        assert theirs.bucket(bucket.name).blob("a").download_as_bytes() == b"data"

        blob.make_public()
        assert requests.get(link, timeout=LIMIT).content == b"data"
        blob.make_private()
        assert requests.get(link, timeout=LIMIT).status_code == 403

        bucket.default_object_acl.all_authenticated().grant_read()
        bucket.default_object_acl.save()
        bucket.blob("b").upload_from_string(b"b")
        bucket.blob("c").upload_from_string(b"c", predefined_acl="private")
        assert theirs.bucket(bucket.name).blob("b").download_as_bytes() == b"b"
        with pytest.raises(Forbidden):
            theirs.bucket(bucket.name).blob("c").download_as_bytes()
        assert {"entity": "allAuthenticatedUsers", "role": "READER"} in list(bucket.blob("b").acl)
        bucket.delete(force=True)
