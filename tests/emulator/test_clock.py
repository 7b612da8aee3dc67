"""The clock of a running cloud, turned by the control API, with Google's clients beside it."""

# mypy: disable-error-code="no-untyped-call"

import datetime as dt
from contextlib import closing

import httpx
import pytest
from google.api_core.exceptions import NotFound
from google.auth.transport.requests import Request
from google.cloud import scheduler_v1, secretmanager_v1, storage, tasks_v2
from google.oauth2 import id_token

from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from devenv.pytest_plugin import CloudClock
from tests.emulator.target import Worker
from tests.waiting import until

PLACE = f"projects/{OPEN_PROJECT.project}/locations/{OPEN_PROJECT.region}"
REST = "rest"  # gRPC reads the CA of one cloud per process: that of the other tests
HOUR = dt.timedelta(hours=1)


def control(cloud: Cloud, verb: str, **body: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {cloud.control_token}"}
    url = f"{cloud.plain_url}/_devenv/clock"
    return httpx.request(verb, url, headers=headers, json=body or None, trust_env=False)


def task(worker: Worker, name: str, wait: dt.timedelta) -> tasks_v2.Task:
    due = dt.datetime.now(dt.UTC) + wait  # noqa: TID251 - the time of this program
    request = {"url": f"{worker.url}/{name}"}
    return tasks_v2.Task(http_request=request, schedule_time=due)


def test_waiting_tasks_leave_when_the_clock_reaches_them(turned: Cloud, worker: Worker) -> None:
    clock, queue = CloudClock(turned), f"{PLACE}/queues/later"
    with tasks_v2.CloudTasksClient(transport=REST) as client:
        client.create_queue(parent=PLACE, queue=tasks_v2.Queue(name=queue))
        client.create_task(parent=queue, task=task(worker, "first", HOUR))
        clock.advance("1h")
        assert worker.next().path == "/first"

        # A program states the moment by its own clock, which was not turned.
        client.create_task(parent=queue, task=task(worker, "second", HOUR))
        client.create_task(parent=queue, task=task(worker, "third", 3 * HOUR))
        clock.advance("1h")
        assert worker.next().path == "/second"
        until(lambda: len(list(client.list_tasks(parent=queue))) == 1)

        control(turned, "DELETE")
        clock.advance("2h")
        assert worker.next().path == "/third"


def test_schedule_fires_once_for_a_turn_over_many_times(turned: Cloud, worker: Worker) -> None:
    with scheduler_v1.CloudSchedulerClient(transport=REST) as client:
        target = {"uri": f"{worker.url}/tick", "http_method": "POST"}
        name = f"{PLACE}/jobs/tick"
        job = scheduler_v1.Job(name=name, schedule="0 * * * *", http_target=target)
        clock = CloudClock(turned)
        clock.set("2100-01-01T00:30:00")  # no hour ends while this test runs
        client.create_job(parent=PLACE, job=job)

        clock.advance("1d")
        arrival = worker.next()
        clock.advance("1h")
        worker.next()

        assert arrival.headers["x-cloudscheduler"] == "true"
        assert worker.arrivals.empty()


@pytest.mark.parametrize(
    ("eve", "moments"),
    [
        # 02:30 does not exist on the day when summer time begins, and comes twice when it ends.
        ("2100-03-27T12:00:00Z", ["2100-03-29T00:30", "2100-03-30T00:30"]),
        ("2100-10-30T12:00:00Z", ["2100-10-31T00:30", "2100-10-31T01:30"]),
    ],
)
def test_schedule_skips_the_missing_hour_and_fires_twice_in_the_repeated(
    turned: Cloud, worker: Worker, eve: str, moments: list[str]
) -> None:
    clock = CloudClock(turned)
    clock.set(eve)
    with scheduler_v1.CloudSchedulerClient(transport=REST) as client:
        target = {"uri": f"{worker.url}/tick", "http_method": "POST"}
        job = scheduler_v1.Job(
            name=f"{PLACE}/jobs/night",
            schedule="30 2 * * *",
            time_zone="Europe/Berlin",
            http_target=target,
        )
        client.create_job(parent=PLACE, job=job)
        seen: list[str] = []

        def next_due() -> str:
            """Return when it is due next, once it has left the moments before."""
            at = f"{client.get_job(name=job.name).schedule_time:%Y-%m-%dT%H:%M}"
            return "" if at in seen else at

        for _ in moments:
            seen.append(until(next_due))
            clock.set(f"{seen[-1]}:00Z")
            worker.next()

    assert seen == moments
    assert worker.arrivals.empty()


def test_secret_and_signed_url_expire_by_the_clock(turned: Cloud) -> None:
    clock = CloudClock(turned)
    with (
        secretmanager_v1.SecretManagerServiceClient(transport=REST) as secrets,
        closing(storage.Client()) as client,
    ):
        expiring = secretmanager_v1.Secret(replication={"automatic": {}}, ttl=2 * HOUR)
        parent = f"projects/{OPEN_PROJECT.project}"
        name = secrets.create_secret(parent=parent, secret_id="brief", secret=expiring).name
        blob = client.create_bucket("signed").blob("a")
        blob.upload_from_string("x")
        account = f"app@{OPEN_PROJECT.project}.iam.gserviceaccount.com"
        signing = {"service_account_email": account, "access_token": turned.access_token("app")}
        old = blob.generate_signed_url(version="v4", expiration=HOUR, **signing)
        assert httpx.get(old, verify=False).status_code == 200  # noqa: S501

        clock.advance("2h")

        new = blob.generate_signed_url(version="v4", expiration=HOUR, **signing)
        answers = [httpx.get(url, verify=False) for url in (old, new)]  # noqa: S501
        assert [answer.status_code for answer in answers] == [400, 200]
        with pytest.raises(NotFound):
            secrets.get_secret(name=name)


def test_lifecycle_rules_of_the_client_act_by_the_clock(turned: Cloud) -> None:
    with closing(storage.Client()) as client:
        bucket = client.create_bucket("ageing")
        bucket.add_lifecycle_set_storage_class_rule("NEARLINE", age=1)
        bucket.add_lifecycle_delete_rule(age=30, matches_prefix=["logs/"])
        bucket.patch()
        for name in ("logs/a", "kept"):
            bucket.blob(name).upload_from_string("x")

        CloudClock(turned).advance("30d2h")

        found = until(lambda: [b for b in [list(bucket.list_blobs())] if len(b) == 1])[0]
        assert [(blob.name, blob.storage_class) for blob in found] == [("kept", "NEARLINE")]
        assert len(list(bucket.lifecycle_rules)) == 2


def test_id_token_stays_valid_for_google_auth(turned: Cloud) -> None:
    CloudClock(turned).advance("1w")

    token = id_token.fetch_id_token(Request(), "https://worker.example")

    assert id_token.verify_oauth2_token(token, Request(), "https://worker.example")["email"]


def test_clock_survives_a_restart_and_reset_ends_it(turned: Cloud) -> None:
    CloudClock(turned).set("2100-01-01")
    turned.restart()
    assert control(turned, "GET").json()["time"].startswith("2100-01-01T00:00:")

    answer = control(turned, "DELETE").json()

    assert answer["ahead"] == 0


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"set": "2001-01-01"}, "forward only"),
        ({"advance": "soon"}, "'soon' is not a duration"),
        ({"set": "soon"}, "'soon' is not a time"),
        ({"forward": "2h"}, "The body must be"),
        ({}, "The body must be"),
    ],
)
def test_wrong_turn_is_refused_by_name(cloud: Cloud, body: dict[str, str], text: str) -> None:
    answer = control(cloud, "POST", **body)

    assert answer.status_code == 400
    assert text in answer.json()["error"]["message"]
