"""Faults and journal of a running cloud, by its control API and Google's clients."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.cloud import run_v2, secretmanager_v1, storage

from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs

JOB = "projects/validibot-local/locations/us-west1/jobs/validibot-validator-fmu"


@pytest.fixture
def control(cloud: Cloud) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {cloud.control_token}"}
    base = f"{cloud.plain_url}/_devenv/"
    with httpx.Client(base_url=base, headers=headers, trust_env=False) as client:
        yield client
        client.delete("faults")


@pytest.fixture
def bucket(act_as: ActAs) -> Iterator[storage.Bucket]:
    """The bucket as the administrator sees it; its connections, broken ones too, are closed."""
    act_as("admin")
    with closing(storage.Client()) as client:
        yield client.bucket("validibot-local")


def add(control: httpx.Client, **fault: Any) -> str:
    answer = control.post("faults", json=fault)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def rows(control: httpx.Client, **wanted: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = control.get("journal", params=wanted).json()["calls"]
    return found


def test_client_retries_a_fault_of_storage(bucket: storage.Bucket, control: httpx.Client) -> None:
    fault = add(control, method="storage.objects.insert", status=503, times=2)
    blob = bucket.blob("retried")

    blob.upload_from_string("data", if_generation_match=0)

    assert blob.download_as_bytes() == b"data"
    statuses = [row["status"] for row in rows(control, method="storage.objects.insert", limit="3")]
    assert statuses == ["200", "503", "503"]
    assert len(rows(control, fault=fault)) == 2


def test_fault_takes_the_resource_that_the_journal_shows(
    bucket: storage.Bucket, control: httpx.Client
) -> None:
    bucket.blob("shown").upload_from_string("data")
    bucket.blob("shown").reload()
    shown = rows(control, method="storage.objects.get", limit="1")[0]["resource"]

    fault = add(control, method="storage.objects.get", resource=shown, status=503)
    bucket.blob("shown").reload()

    assert [row["resource"] for row in rows(control, fault=fault)] == [shown]


def test_lost_answer_leaves_the_object_behind(
    cloud: Cloud, bucket: storage.Bucket, control: httpx.Client
) -> None:
    add(control, method="storage.objects.insert", lose_answer=True)
    headers = {"Authorization": f"Bearer {cloud.access_token('admin')}"}
    url = f"{cloud.plain_url}/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=lost"

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(url, content=b"data", headers=headers, trust_env=False)

    assert bucket.blob("lost").download_as_bytes() == b"data"


def test_grpc_call_fails_as_the_fault_says(act_as: ActAs, control: httpx.Client) -> None:
    act_as("worker")
    fault = add(control, method="run.Jobs.GetJob", status=503, caller="worker")
    with run_v2.JobsClient() as client:
        with pytest.raises(ServiceUnavailable, match=f"Fault {fault}"):
            client.get_job(name=JOB, retry=None)
        assert client.get_job(name=JOB).name == JOB

    [struck] = rows(control, fault=fault)
    assert struck["caller"].startswith("worker@")
    assert struck["resource"] == JOB


def test_journal_shows_the_permission_that_was_refused(
    act_as: ActAs, control: httpx.Client
) -> None:
    act_as("guest")
    with (
        secretmanager_v1.SecretManagerServiceClient() as client,
        pytest.raises(Exception, match="403"),
    ):
        client.create_secret(
            parent="projects/validibot-local", secret_id="x", secret=secretmanager_v1.Secret()
        )

    row = rows(control, decision="denied", caller="guest@*", limit="1")[0]
    assert row["permission"] == "secretmanager.secrets.create"
    assert row["status"] == "PERMISSION_DENIED"


def test_method_that_is_not_emulated_is_listed(cloud: Cloud, control: httpx.Client) -> None:
    httpx.get(
        f"{cloud.plain_url}/v1/projects/p/topics",
        headers={"Host": "pubsub.googleapis.com"},
        trust_env=False,
    )

    names = [each["method"] for each in control.get("missing").json()["missing"]]
    assert "pubsub GET /v1/projects/p/topics" in names


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": ""},
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
    ],
)
def test_control_api_refuses_foreign_pages_and_tokens(
    control: httpx.Client, headers: dict[str, str]
) -> None:
    assert control.get("faults", headers=headers).status_code == 403
    assert control.get("health", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "an object"),
        (b'{"method": "storage.objects.insert", "colour": 503}', "colour"),
        (b'{"method": "storage.objects.insert", "status": "503"}', "status"),
        (b'{"method": "nothing.at.all", "status": 503}', "matches nothing"),
    ],
)
def test_bad_fault_is_refused_by_name(control: httpx.Client, body: bytes, text: str) -> None:
    answer = control.post("faults", content=body)

    assert answer.status_code == 400
    assert text in answer.json()["error"]["message"]
    assert control.get("journal?limit=x").status_code == 400
    assert control.get("journal?colour=red").status_code == 400
    assert control.delete("faults/999").status_code == 404
