"""Faults and journal of a running cloud, by its control API and Google's clients."""

import io
import random
from collections.abc import Iterator
from contextlib import closing
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import httpx
import pytest
from google import pubsub_v1
from google.api_core.exceptions import ServiceUnavailable
from google.cloud import run_v2, secretmanager_v1, storage, tasks_v2

from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs
from tests.emulator.target import working
from tests.waiting import until

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


def rows(control: httpx.Client, least: int = 1, /, **wanted: str) -> list[dict[str, Any]]:
    """Return calls of the journal once there are enough: one is recorded when its answer was sent."""

    def recorded() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control.get("journal", params=wanted).json()["calls"]
        return found if len(found) >= least else []

    return until(recorded)


def test_client_retries_a_fault_of_storage(bucket: storage.Bucket, control: httpx.Client) -> None:
    fault = add(control, method="storage.objects.insert", caller="admin", status=503, times=2)
    blob = bucket.blob("retried")

    blob.upload_from_string("data", if_generation_match=0)

    assert blob.download_as_bytes() == b"data"
    assert len(rows(control, 2, fault=fault)) == 2
    ours = {"method": "storage.objects.insert", "caller": "admin@*", "limit": "3"}
    until(lambda: [row["status"] for row in rows(control, **ours)] == ["200", "503", "503"])


def test_fault_takes_the_resource_that_the_journal_shows(
    bucket: storage.Bucket, control: httpx.Client
) -> None:
    bucket.blob("shown").upload_from_string("data")
    bucket.blob("shown").reload()
    read = {"method": "storage.objects.get", "caller": "admin@*", "resource": "*shown"}
    shown = rows(control, **read)[0]["resource"]

    fault = add(control, method="storage.objects.get", resource=shown, status=503)
    bucket.blob("shown").reload()

    assert [row["resource"] for row in rows(control, fault=fault)] == [shown]


class _BrokenBody:
    """The body of a request whose connection breaks after half of its bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._file = io.BytesIO(data[: len(data) // 2])

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises ConnectionResetError after the last."""
        if part := self._file.read(size):
            return part
        raise ConnectionResetError


def test_client_continues_an_upload_whose_chunk_was_cut(
    bucket: storage.Bucket, control: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second chunk loses its connection half way, and the third before it is read."""
    chunk = 1 << 20
    data = random.Random(1).randbytes(3 * chunk + 7)  # noqa: S311 - a repeatable order
    send, sent = bucket.client._http.request, []

    def request(method: str, url: str, data: Any = None, **options: Any) -> Any:
        if method == "PUT":
            sent.append(options["headers"]["content-range"])
            if len(sent) == 2:
                data = _BrokenBody(data)
            elif len(sent) == 4:
                add(control, method="storage.objects.insert", caller="admin", reset=True, times=1)
        return send(method, url, data=data, **options)

    monkeypatch.setattr(bucket.client._http, "request", request)
    blob = bucket.blob("cut", chunk_size=chunk)
    blob.upload_from_file(io.BytesIO(data), if_generation_match=0)
    assert len(sent) == 6
    assert blob.download_as_bytes() == data
    blob.delete()


@pytest.mark.parametrize(("effect", "status"), [("lose_answer", "200"), ("reset", "")])
def test_broken_connection_has_the_status_of_what_was_done(
    effect: str,
    status: str,
    cloud: Cloud,
    bucket: storage.Bucket,
    control: httpx.Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A lost answer leaves its object behind; a call whose connection was reset did nothing."""
    fault = add(control, method="storage.objects.insert", caller="admin", **{effect: True})
    headers = {"Authorization": f"Bearer {cloud.access_token('admin')}"}
    url = f"{cloud.plain_url}/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name={effect}"

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(url, content=b"data", headers=headers, trust_env=False)

    assert bucket.blob(effect).exists() == bool(status)
    assert [row["status"] for row in rows(control, fault=fault)] == [status]
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []


def test_new_fault_breaks_off_streams_that_are_open(
    cloud: Cloud, bucket: storage.Bucket, control: httpx.Client
) -> None:
    """A download and a streaming pull whose clients have begun to read."""
    bucket.blob("large").upload_from_string(b"0" * (64 << 20))
    topic, subscription = (
        f"projects/validibot-local/{kind}/open" for kind in ("topics", "subscriptions")
    )
    headers = {"Authorization": f"Bearer {cloud.access_token('admin')}"}
    url = f"{cloud.plain_url}/download/storage/v1/b/{bucket.name}/o/large?alt=media"
    with (
        pubsub_v1.PublisherClient() as publisher,
        pubsub_v1.SubscriberClient() as subscriber,
        httpx.stream("GET", url, headers=headers, trust_env=False) as download,
    ):
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        publisher.publish(topic=topic, messages=[pubsub_v1.PubsubMessage(data=b"data")])
        requests: SimpleQueue[Any] = SimpleQueue()
        requests.put({"subscription": subscription, "stream_ack_deadline_seconds": 10})
        pull = subscriber.streaming_pull(requests=iter(requests.get, None))
        next(iter(pull))
        faults = [
            add(control, method="storage.objects.get", caller="admin", reset=True),
            add(control, method="pubsub.Subscriber.StreamingPull", resource="*/open", status=503),
        ]
        with pytest.raises(httpx.RemoteProtocolError):
            download.read()
        with pytest.raises(ServiceUnavailable):
            list(pull)
        requests.put(None)
        publisher.delete_topic(topic=topic)
        subscriber.delete_subscription(subscription=subscription)

    struck = [row["status"] for fault in faults for row in rows(control, fault=fault)]
    assert struck == ["200", "UNAVAILABLE"]


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

    refused = {"decision": "denied", "caller": "guest@*", "method": "*.CreateSecret"}
    row = rows(control, **refused)[0]  # other tests of this process were refused other calls
    assert row["permission"] == "secretmanager.secrets.create"
    assert row["status"] == "PERMISSION_DENIED"


def test_method_that_is_not_emulated_is_listed(cloud: Cloud, control: httpx.Client) -> None:
    httpx.get(
        f"{cloud.plain_url}/bigquery/v2/projects/p/datasets",
        headers={"Host": "bigquery.googleapis.com"},
        trust_env=False,
    )

    names = [each["method"] for each in control.get("missing").json()["missing"]]
    assert "bigquery GET /bigquery/v2/projects/p/datasets" in names


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


def run_sleeper(control: httpx.Client, **fault: Any) -> tuple[run_v2.Execution, str]:
    """Run a job whose first attempt a fault strikes; return its execution and the fault."""
    number = add(control, method="run.attempt", resource="sleeper-*", **fault)
    with run_v2.JobsClient() as jobs, run_v2.ExecutionsClient() as executions:
        operation = jobs.run_job(name=JOB.replace("validibot-validator-fmu", "sleeper"))
        name = operation.metadata.name
        if fault.get("outcome") == "hang":
            until(lambda: rows(control, fault=number))
            executions.cancel_execution(name=name)
        until(lambda: executions.get_execution(name=name).completion_time)
        return executions.get_execution(name=name), number


@pytest.mark.parametrize(
    ("outcome", "text"),
    [("crash", "exited with an error"), ("out_of_memory", "memory limit was reached")],
)
def test_struck_attempt_fails_its_execution(
    act_as: ActAs, control: httpx.Client, outcome: str, text: str
) -> None:
    act_as("admin")
    execution, number = run_sleeper(control, outcome=outcome)

    assert execution.failed_count == 1
    assert text in execution.conditions[0].message
    struck = rows(control, fault=number)
    assert [(row["method"], row["status"]) for row in struck] == [("run.attempt", outcome)]


def test_hanging_attempt_can_be_cancelled(act_as: ActAs, control: httpx.Client) -> None:
    act_as("admin")
    execution, _ = run_sleeper(control, outcome="hang")

    assert execution.cancelled_count == 1


def test_metadata_server_fails_by_a_fault(
    cloud: Cloud, act_as: ActAs, control: httpx.Client
) -> None:
    act_as("guest")
    number = add(control, method="metadata.token", caller="guest", status=503)
    host = cloud.environ("guest")["GCE_METADATA_HOST"]
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"

    answers = [httpx.get(url, headers={"Metadata-Flavor": "Google"}, trust_env=False) for _ in "12"]

    assert [answer.status_code for answer in answers] == [503, 200]
    assert [row["status"] for row in rows(control, fault=number)] == ["503"]


def test_duplicate_delivers_a_task_twice(act_as: ActAs, control: httpx.Client) -> None:
    act_as("admin")
    place = JOB.rpartition("/jobs/")[0]
    queue = f"{place}/queues/twice-{uuid4().hex}"
    with working() as worker, tasks_v2.CloudTasksClient() as client:
        client.create_queue(parent=place, queue=tasks_v2.Queue(name=queue))
        add(control, method="deliver", resource=f"{worker.url}/*", duplicate=True)
        request = tasks_v2.HttpRequest(url=f"{worker.url}/twice")
        client.create_task(parent=queue, task=tasks_v2.Task(http_request=request))
        arrivals = [worker.next() for _ in range(2)]
        client.delete_queue(name=queue)

    assert len({arrival.headers["x-cloudtasks-taskname"] for arrival in arrivals}) == 1


def test_reorder_delivers_a_task_after_the_next(act_as: ActAs, control: httpx.Client) -> None:
    act_as("admin")
    place = JOB.rpartition("/jobs/")[0]
    queue = f"{place}/queues/reordered-{uuid4().hex}"
    with working() as worker, tasks_v2.CloudTasksClient() as client:
        client.create_queue(parent=place, queue=tasks_v2.Queue(name=queue))
        add(control, method="deliver", resource=f"{worker.url}/*", reorder=True)

        def create(name: str) -> None:
            request = tasks_v2.HttpRequest(url=f"{worker.url}/reordered")
            task = tasks_v2.Task(name=f"{queue}/tasks/{name}", http_request=request)
            client.create_task(parent=queue, task=task)

        create("first")
        until(lambda: str(control.get("faults").json()["faults"][-1]["struck"]) == "1")
        create("second")
        arrivals = [worker.next() for _ in range(2)]
        client.delete_queue(name=queue)

    names = [arrival.headers["x-cloudtasks-taskname"] for arrival in arrivals]
    assert names == ["second", "first"]
