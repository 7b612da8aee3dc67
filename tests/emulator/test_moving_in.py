"""Move of files from an S3-compatible server to Cloud Storage, and of their addresses in rows."""

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.management import CommandError, call_command
from moto.server import ThreadedMotoServer
from pytest_django import Settings

from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs
from tests.factories import ArtifactFactory, SubmissionFactory
from validators.sdk import storage as storages
from validibot.submissions import content

PARTS = os.urandom(6 * 1024 * 1024)  # an upload in two parts: the ETag is no digest
BUCKET = "old-media"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of a local S3-compatible server, which boto3 finds by its own variables."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()
    server.stop()


@pytest.fixture
def target(settings: Settings, config: CloudConfig, act_as: ActAs) -> Iterator[str]:
    """The DATA_ROOT of an installation in the emulated cloud, as its worker sees it."""
    act_as("worker")
    storages._open.cache_clear()
    settings.DATA_ROOT = f"gs://{config.buckets[0]}/moved/{uuid.uuid4()}"
    yield settings.DATA_ROOT
    storages._open.cache_clear()


def move(*arguments: str) -> str:
    output = io.StringIO()
    call_command("move", *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


@pytest.mark.django_db
def test_files_of_a_bucket_are_read_by_their_rows_after_the_move(
    bucket: Any, target: str, tmp_path: Path
) -> None:
    bucket.put_object(Bucket=BUCKET, Key="files/submissions/a b.json", Body=b"{}")
    upload = {"Bucket": BUCKET, "Key": "files/runs/large.csv"}
    upload_id = bucket.create_multipart_upload(**upload)["UploadId"]
    chunks = (PARTS[: 5 * 1024 * 1024], PARTS[5 * 1024 * 1024 :])
    parts = [
        {
            "PartNumber": n,
            "ETag": bucket.upload_part(**upload, UploadId=upload_id, PartNumber=n, Body=chunk)[
                "ETag"
            ],
        }
        for n, chunk in enumerate(chunks, 1)
    ]
    bucket.complete_multipart_upload(**upload, UploadId=upload_id, MultipartUpload={"Parts": parts})
    bucket.put_object(Bucket=BUCKET, Key="of-another-program", Body=b"x")
    submission = SubmissionFactory.create(
        inline=None, size_bytes=2, uri="file:///srv/old/submissions/a%20b.json", storage_version="v"
    )
    artifact = ArtifactFactory.create(
        uri="file:///srv/old/runs/large.csv",
        size_bytes=len(PARTS),
        sha256=hashlib.sha256(PARTS).hexdigest(),
    )
    media = ("media", f"s3://{BUCKET}/files", "--journal", str(tmp_path / "journal"))

    assert "Copied: 2 of 2 files (6.0 MiB); 0 were there, 0 failed." in move(*media)
    assert "Copied: 0 of 2 files (0 B); 2 were there, 0 failed." in move(*media)
    assert "Addresses changed: 2; files missing: 0" in move("addresses", "file:///srv/old")

    submission.refresh_from_db()
    artifact.refresh_from_db()
    assert content.read(submission, limit=10) == b"{}"
    assert artifact.uri == f"{target}/runs/large.csv"
    stored = storages.open_storage(artifact.uri)
    assert stored.read(artifact.uri, version=artifact.storage_version, limit=len(PARTS)) == PARTS


@pytest.mark.usefixtures("bucket", "target")
@pytest.mark.django_db
def test_bucket_that_does_not_exist_is_named() -> None:
    with pytest.raises(CommandError, match=r"s3://nowhere: .*NoSuchBucket"):
        move("media", "s3://nowhere")
