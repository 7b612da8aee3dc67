"""Faults and journal of a running cloud, by its control API and Google's clients."""

from collections.abc import Iterator
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


def add(control: httpx.Client, **fault: Any) -> str:
    answer = control.post("faults", json=fault)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def rows(control: httpx.Client, **wanted: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = control.get("journal", params=wanted).json()["calls"]
    return found


def test_client_retries_a_fault_of_storage(act_as: ActAs, control: httpx.Client) -> None:
    act_as("admin")
    fault = add(control, method="storage.objects.insert", status=503, times=2)
    blob = storage.Client().bucket("validibot-local").blob("retried")

    blob.upload_from_string("data", if_generation_match=0)

    assert blob.download_as_bytes() == b"data"
    statuses = [row["status"] for row in rows(control, method="storage.objects.insert", limit="3")]
    assert statuses == ["200", "503", "503"]
    assert len(rows(control, fault=fault)) == 2


def test_lost_answer_leaves_the_object_behind(act_as: ActAs, control: httpx.Client) -> None:
    act_as("admin")
    add(control, method="storage.objects.insert", lose_answer=True)
    blob = storage.Client().bucket("validibot-local").blob("lost")

    with pytest.raises(Exception, match=r"(?i)connection|incomplete"):
        blob.upload_from_string("data", retry=None)

    assert blob.download_as_bytes() == b"data"


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
    assert control.get("health", headers=headers).status_code in (200, 404)


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
