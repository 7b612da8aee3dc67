"""A turn of the clock while something is under way: backoff, a job, a lease, an upload, tokens."""

# mypy: disable-error-code="no-untyped-call"

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import google.auth
import httpx
import pytest
from google.api_core.exceptions import BadRequest, Conflict, GatewayTimeout
from google.auth import impersonated_credentials
from google.auth.transport.requests import Request
from google.cloud import run_v2, secretmanager_v1, tasks_v2
from google.cloud.storage import Client
from google.oauth2 import id_token
from google.pubsub_v1 import PublisherClient, PubsubMessage, ReceivedMessage, SubscriberClient

from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from devenv.gcp.config import ImageConfig, JobConfig, ServiceConfig
from devenv.pytest_plugin import CloudClock
from tests.emulator.target import Worker
from tests.waiting import until

PROJECT = f"projects/{OPEN_PROJECT.project}"
PLACE = f"{PROJECT}/locations/{OPEN_PROJECT.region}"
APP = OPEN_PROJECT.email("app")
REST = "rest"  # gRPC reads the CA of one cloud per process: that of the other tests
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
HOUR = dt.timedelta(hours=1)
LONG = 300  # seconds, against hangs
QUEUE = f"{PLACE}/queues/patient"


@pytest.fixture
def clock(turned: Cloud) -> CloudClock:
    return CloudClock(turned)


@pytest.fixture
def tasks(turned: Cloud) -> Iterator[tasks_v2.CloudTasksClient]:
    """Return a client, and make a queue whose tasks are tried again after an hour, for an hour."""
    retries = tasks_v2.RetryConfig(
        min_backoff=HOUR, max_backoff=HOUR, max_retry_duration=HOUR, max_attempts=-1
    )
    with tasks_v2.CloudTasksClient(transport=REST) as client:
        client.create_queue(parent=PLACE, queue=tasks_v2.Queue(name=QUEUE, retry_config=retries))
        yield client


def task(worker: Worker, name: str) -> tasks_v2.Task:
    return tasks_v2.Task(name=f"{QUEUE}/tasks/{name}", http_request={"url": f"{worker.url}/{name}"})


def until_failed(client: tasks_v2.CloudTasksClient, name: str) -> None:
    until(lambda: client.get_task(name=f"{QUEUE}/tasks/{name}").response_count)


def test_turn_ends_the_backoff_of_a_task_and_frees_its_name(
    tasks: tasks_v2.CloudTasksClient, clock: CloudClock, worker: Worker
) -> None:
    worker.script = [404]
    tasks.create_task(parent=QUEUE, task=task(worker, "late"))
    worker.next()
    until_failed(tasks, "late")

    clock.advance("1h")
    again = worker.next()
    until(lambda: not list(tasks.list_tasks(parent=QUEUE)))
    with pytest.raises(Conflict):
        tasks.create_task(parent=QUEUE, task=task(worker, "late"))
    clock.advance("1h")
    tasks.create_task(parent=QUEUE, task=task(worker, "late"))
    worker.next()

    counts = ("taskretrycount", "taskexecutioncount", "taskpreviousresponse")
    assert [again.headers[f"x-cloudtasks-{each}"] for each in counts] == ["1", "1", "404"]
    assert worker.arrivals.empty()


def test_tasks_and_their_names_wait_no_longer_after_a_reset(
    tasks: tasks_v2.CloudTasksClient, clock: CloudClock, worker: Worker
) -> None:
    clock.advance("1d")
    tasks.create_task(parent=QUEUE, task=task(worker, "done"))
    worker.next()
    until(lambda: not list(tasks.list_tasks(parent=QUEUE)))
    worker.script = [500, 500]
    tasks.create_task(parent=QUEUE, task=task(worker, "late"))
    worker.next()
    until_failed(tasks, "late")

    clock.reset()
    clock.advance("1h")

    assert worker.next().headers["x-cloudtasks-taskretrycount"] == "1"
    until(lambda: not list(tasks.list_tasks(parent=QUEUE)))  # an hour of attempts is over
    tasks.create_task(parent=QUEUE, task=task(worker, "done"))
    worker.next()
    assert worker.arrivals.empty()


def test_turn_ends_attempts_of_a_job_past_their_timeout(turned: Cloud, clock: CloudClock) -> None:
    image = ImageConfig("sleeper:1", ("{python}", "-c", "import time; time.sleep(600)"))
    declared = [JobConfig(name, image.name, "app", max_retries=1) for name in ("short", "long")]
    turned.restart(replace(OPEN_PROJECT, images=(image,), jobs=tuple(declared)))
    with (
        run_v2.JobsClient(transport=REST) as jobs,
        run_v2.ExecutionsClient(transport=REST) as executions,
    ):
        begun = {}
        for name, hours in (("short", 1), ("long", 3)):
            overrides = run_v2.RunJobRequest.Overrides(timeout=hours * HOUR)
            request = run_v2.RunJobRequest(name=f"{PLACE}/jobs/{name}", overrides=overrides)
            begun[name] = jobs.run_job(request=request)

        def now(name: str) -> run_v2.Execution:
            return executions.get_execution(name=begun[name].metadata.name)

        until(lambda: now("short").running_count and now("long").running_count)
        clock.advance("1h")
        until(lambda: now("short").retried_count)
        clock.advance("1h")

        with pytest.raises(GatewayTimeout, match="The configured timeout was reached"):
            begun["short"].result(timeout=LONG)
        kept = now("long")
        executions.cancel_execution(name=kept.name).result(timeout=LONG)
    assert (kept.running_count, kept.retried_count) == (1, 0)


def pulled(subscriber: SubscriberClient, name: str) -> list[ReceivedMessage]:
    request = {"subscription": name, "max_messages": 9, "return_immediately": True}
    with pytest.warns(DeprecationWarning, match="return_immediately"):
        return list(subscriber.pull(request=request).received_messages)


def test_turn_ends_leases_and_each_message_comes_again_once(
    turned: Cloud, clock: CloudClock
) -> None:
    topic, names = f"{PROJECT}/topics/news", {}
    publisher, subscriber = PublisherClient(transport=REST), SubscriberClient(transport=REST)
    with closing(publisher.transport), closing(subscriber.transport):
        publisher.create_topic(name=topic)
        for kind in ("usual", "exactly-once"):
            names[kind] = f"{PROJECT}/subscriptions/{kind}"
            wanted = {
                "name": names[kind],
                "topic": topic,
                "enable_exactly_once_delivery": kind != "usual",
            }
            subscriber.create_subscription(request=wanted)
        publisher.publish(topic=topic, messages=[PubsubMessage(data=b"x")])

        def pull() -> list[list[str]]:
            """Return the ack ids of what both subscriptions have to deliver."""
            return [[each.ack_id for each in pulled(subscriber, name)] for name in names.values()]

        (usual,), (exactly_once,) = pull()
        assert pull() == [[], []]
        clock.advance("10s")
        assert [len(each) for each in pull()] == [1, 1]
        assert pull() == [[], []]

        subscriber.acknowledge(subscription=names["usual"], ack_ids=[usual])
        with pytest.raises(BadRequest, match="EXACTLY_ONCE_ACKID"):
            subscriber.acknowledge(subscription=names["exactly-once"], ack_ids=[exactly_once])
        clock.advance("10s")
        assert [len(each) for each in pull()] == [0, 1]


def test_turn_rotates_a_secret_once(turned: Cloud, clock: CloudClock) -> None:
    topic, name = f"{PROJECT}/topics/news", f"{PROJECT}/subscriptions/reader"
    agent = (
        f"serviceAccount:service-{OPEN_PROJECT.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    )
    publisher, subscriber = PublisherClient(transport=REST), SubscriberClient(transport=REST)
    secrets = secretmanager_v1.SecretManagerServiceClient(transport=REST)
    with closing(publisher.transport), closing(subscriber.transport), secrets:
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=name, topic=topic)
        policy = {"bindings": [{"role": "roles/pubsub.publisher", "members": [agent]}]}
        publisher.set_iam_policy(request={"resource": topic, "policy": policy})
        first = dt.datetime.now(dt.UTC) + 2 * HOUR  # noqa: TID251 - the time of this program
        wanted = secretmanager_v1.Secret(
            replication={"automatic": {}},
            topics=[{"name": topic}],
            rotation={"next_rotation_time": first, "rotation_period": 2 * HOUR},
        )
        secrets.create_secret(parent=PROJECT, secret_id="key", secret=wanted)

        clock.advance("5h")

        seen: list[str] = []

        def is_rotated() -> bool:
            seen.extend(each.message.attributes["eventType"] for each in pulled(subscriber, name))
            return "SECRET_ROTATE" in seen

        until(is_rotated)
        after = secrets.get_secret(name=f"{PROJECT}/secrets/key").rotation.next_rotation_time
    assert seen == ["TOPIC_CONFIGURED", "SECRET_CREATE", "SECRET_ROTATE"]
    assert after - first == 4 * HOUR


def test_upload_session_that_is_under_way_expires_after_a_week(
    turned: Cloud, clock: CloudClock
) -> None:
    chunk, total = 1 << 18, 2 << 18
    with closing(Client()) as client:
        blob = client.create_bucket("slow").blob("a")
        session = blob.create_resumable_upload_session(size=total)

        def send(first: int) -> int:
            headers = {"Content-Range": f"bytes {first}-{first + chunk - 1}/{total}"}
            body = b"x" * chunk
            return httpx.put(session, content=body, headers=headers, verify=False).status_code  # noqa: S501

        assert send(0) == 308
        clock.advance("1w")

        assert send(chunk) == 404
        assert not blob.exists()


def test_judges_of_tokens_agree_about_those_from_before_a_turn(
    turned: Cloud, clock: CloudClock, worker: Worker
) -> None:
    service = ServiceConfig("worker", worker.port, "app")
    turned.restart(replace(OPEN_PROJECT, services=(service,)))
    url = OPEN_PROJECT.service_url("worker")
    own, _ = google.auth.default(scopes=[SCOPE])
    other = impersonated_credentials.Credentials(own, APP, [SCOPE])
    for each in (own, other):
        each.refresh(Request())
    old = id_token.fetch_id_token(Request(), url)
    with httpx.Client(verify=False) as client:  # noqa: S501

        def are_accepted(token: str | None) -> set[bool]:
            """Return the opinions of all to whom an access token can be shown."""
            return {answer.is_success for answer in shown(client, str(token), url)}

        def is_let_in(token: str) -> bool:
            return client.get(url, headers=bearer(token)).is_success

        before = [are_accepted(own.token), are_accepted(other.token), is_let_in(old)]
        clock.advance("1h")
        after = [are_accepted(own.token), are_accepted(other.token), is_let_in(old)]
        new = id_token.fetch_id_token(Request(), url)
        assert is_let_in(new)

    assert before == [{True}, {True}, True]
    assert after == [{True}, {False}, False]
    # A program verifies by its own clock, for which an hour has not passed.
    assert id_token.verify_oauth2_token(old, Request(), url)["email"] == APP


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def shown(client: httpx.Client, token: str, audience: str) -> Iterator[httpx.Response]:
    """Show an access token to storage (JSON, XML), gRPC services, IAM Credentials and STS."""
    for url in (
        f"https://storage.googleapis.com/storage/v1/b?project={OPEN_PROJECT.project}",
        "https://storage.googleapis.com/",
        f"https://cloudtasks.googleapis.com/v2/{PLACE}/queues",
    ):
        yield client.get(url, headers=bearer(token))
    account = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{APP}"
    wanted = {"audience": audience}
    yield client.post(f"{account}:generateIdToken", headers=bearer(token), json=wanted)
    rule = {
        "availableResource": "//storage.googleapis.com/projects/_/buckets/any",
        "availablePermissions": ["inRole:roles/storage.objectViewer"],
    }
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": token,
        "options": json.dumps({"accessBoundary": {"accessBoundaryRules": [rule]}}),
    }
    yield client.post("https://sts.googleapis.com/v1/token", data=exchange)
