"""Deliveries of tasks: requests, headers, retries and restarts."""

import asyncio
import sqlite3

import pytest

from devenv.gcp.config import CloudConfig, QueueConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest
from tests.unit.devenv.gcp.tasks.cloud import PARENT, QUEUE, TasksBench, task

pytestmark = pytest.mark.anyio

OIDC = {"oidc_token": {"service_account_email": "tasks@p"}}


async def test_task_is_delivered_with_google_headers(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
    (request,) = cloud.target.requests
    assert (request.method, request.url, request.body) == ("POST", "http://worker/run", b"{}")
    assert request.deadline == 600
    assert request.headers == {
        "User-Agent": "Google-Cloud-Tasks",
        "X-CloudTasks-QueueName": "runs",
        "X-CloudTasks-TaskName": "t1",
        "X-CloudTasks-TaskRetryCount": "0",
        "X-CloudTasks-TaskExecutionCount": "0",
        "X-CloudTasks-TaskETA": f"{cloud.clock.now():.6f}",
    }


async def test_queue_overrides_requests_of_its_tasks(cloud: TasksBench) -> None:
    uri = {"host": "other", "port": 8080, "path_override": {"path": "/all"}}
    headers = {"key": "x-kind", "value": "queue"}, {"key": "X-CloudTasks-No", "value": "1"}
    target = {
        "uri_override": {**uri, "query_override": {"query_params": "a=1"}},
        "http_method": "PUT",
        "header_overrides": [{"header": each} for each in headers],
        "oidc_token": {"service_account_email": "tasks@p", "audience": "https://all"},
    }
    request = {"headers": {"X-Kind": "task", "X-Own": "2"}}
    async with cloud.running() as call:
        await call("UpdateQueue", queue={"name": QUEUE, "http_target": target})
        await call("CreateTask", parent=QUEUE, task=task("https://worker/run?b=2", request=request))
    async with cloud.running() as call:  # another process: the queue is declared without a target
        await call("CreateTask", parent=QUEUE, task=task())
    sent, plain = cloud.target.requests

    assert (sent.method, sent.url) == ("PUT", "https://other:8080/all?a=1")
    assert {k: v for k, v in sent.headers.items() if not k.startswith("X-CloudTasks-")} == {
        "User-Agent": "Google-Cloud-Tasks",
        "X-Own": "2",
        "x-kind": "queue",
        "Authorization": sent.headers["Authorization"],
    }
    assert "https://all" in sent.headers["Authorization"]
    assert plain.url == "http://worker/run"


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://a/", "http://a:1/b?c"), ("http://a:2/d?e", "http://a:2/d?e")],
)
async def test_override_may_apply_to_missing_parts_only(
    cloud: TasksBench, url: str, expected: str
) -> None:
    uri = {"uri_override_enforce_mode": "IF_NOT_EXISTS", "host": "z", "port": 1}
    parts = {"path_override": {"path": "/b"}, "query_override": {"query_params": "c"}}
    async with cloud.running() as call:
        queue = {"name": f"{QUEUE}-2", "http_target": {"uri_override": {**uri, **parts}}}
        await call("CreateQueue", parent=PARENT, queue=queue)
        await call("CreateTask", parent=f"{QUEUE}-2", task=task(url))

    assert [request.url for request in cloud.target.requests] == [expected]


async def test_task_that_cannot_be_written_takes_no_place_in_its_queue(cloud: TasksBench) -> None:
    cloud.config = CloudConfig(queues=(QueueConfig("runs", max_concurrent_dispatches=1),))
    async with cloud.running() as call:
        cloud.store.connection.execute("PRAGMA query_only = ON")
        with pytest.raises(sqlite3.OperationalError):
            await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        cloud.store.connection.execute("PRAGMA query_only = OFF")
        await call("CreateTask", parent=QUEUE, task=task(id="t2"))
    assert cloud.target.sent("X-CloudTasks-TaskName") == ["t2"]


async def test_forced_task_that_could_not_be_written_can_be_forced_again(
    cloud: TasksBench,
) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        cloud.store.connection.execute("PRAGMA query_only = ON")
        await call("RunTask", name=f"{QUEUE}/tasks/t1")
        cloud.store.connection.execute("PRAGMA query_only = OFF")
        await call("RunTask", name=f"{QUEUE}/tasks/t1")
    assert cloud.target.sent("X-CloudTasks-TaskRetryCount") == ["0"]


async def test_queue_that_could_not_write_tries_again_by_itself(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call(
            "CreateTask",
            parent=QUEUE,
            task=task(id="t1", schedule_time={"seconds": int(cloud.clock.now()) + 5}),
        )
        cloud.store.connection.execute("PRAGMA query_only = ON")
        await cloud.clock.turn(10)
        assert cloud.target.sent("X-CloudTasks-TaskName") == []
        cloud.store.connection.execute("PRAGMA query_only = OFF")
        await cloud.clock.turn(2)
    assert cloud.target.sent("X-CloudTasks-TaskName") == ["t1"]


async def test_failed_attempt_that_cannot_be_written_is_tried_again(
    cloud: TasksBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, full = cloud.target.send, ["ON"]

    async def send_until_full(request: DeliveryRequest) -> DeliveryAnswer:
        cloud.store.connection.execute(f"PRAGMA query_only = {full.pop() if full else 'OFF'}")
        return await send(request)

    monkeypatch.setattr(cloud.target, "send", send_until_full)
    cloud.target.script = [500]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        cloud.store.connection.execute("PRAGMA query_only = OFF")
        await cloud.clock.turn(10)
    assert cloud.target.sent("X-CloudTasks-TaskRetryCount") == ["0", "1"]


async def test_caller_headers_keep_casing_and_google_headers_are_dropped(
    cloud: TasksBench,
) -> None:
    sent = {"X-My-Id": "7", "content-type": "a/b", "X-CloudTasks-TaskName": "x", "host": "evil"}
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1", request={"headers": sent}))
    headers = cloud.target.requests[0].headers
    assert (headers["X-My-Id"], headers["content-type"]) == ("7", "a/b")
    assert headers["X-CloudTasks-TaskName"] == "t1"
    assert "host" not in headers


async def test_counts_follow_google_recording(cloud: TasksBench) -> None:
    cloud.target.script = [503, 404, 429, 500, 302, 200]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task())
        await cloud.clock.turn(100)
    target = cloud.target
    assert target.sent("X-CloudTasks-TaskRetryCount") == ["0", "1", "2", "3", "4", "5"]
    assert target.sent("X-CloudTasks-TaskExecutionCount") == ["0", "0", "1", "2", "2", "3"]
    previous = target.sent("X-CloudTasks-TaskPreviousResponse")
    assert previous == [None, "503", "404", "429", "500", "302"]
    assert target.sent("X-CloudTasks-TaskRetryReason") == [None, *[""] * 5]


async def test_task_is_retried_with_doubling_backoff(cloud: TasksBench) -> None:
    cloud.target.script = [500] * 4
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task())
        counts = []
        for pause in (0.05, 0.06, 0.2, 0.4, 0.78, 0.02):
            await cloud.clock.turn(pause)
            counts.append(len(cloud.target.requests))
    assert counts == [1, 2, 3, 4, 4, 5]


async def test_429_and_503_double_backoff(cloud: TasksBench) -> None:
    cloud.target.script = [429]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task())
        await cloud.clock.turn(0.15)
        assert len(cloud.target.requests) == 1
        await cloud.clock.turn(0.06)
        assert len(cloud.target.requests) == 2


async def test_retry_after_is_considered(cloud: TasksBench) -> None:
    cloud.target.script = [503]
    cloud.target.headers = {"retry-after": "30"}
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task())
        await cloud.clock.turn(29)
        assert len(cloud.target.requests) == 1
        await cloud.clock.turn(2)
        assert len(cloud.target.requests) == 2


async def test_attempt_past_deadline_counts_as_504(cloud: TasksBench) -> None:
    cloud.target.script = [TimeoutError()]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(dispatch_deadline={"seconds": 15}))
        await cloud.clock.turn(1)
    assert cloud.target.requests[0].deadline == 15
    assert cloud.target.sent("X-CloudTasks-TaskPreviousResponse") == [None, "504"]
    assert cloud.target.sent("X-CloudTasks-TaskExecutionCount") == ["0", "0"]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("error", [DeliveryFailed("refused"), RuntimeError("a bug")])
async def test_task_is_retried_after_any_delivery_error(
    cloud: TasksBench, error: Exception
) -> None:
    cloud.target.script = [error]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task())
        await cloud.clock.turn(1)
    assert len(cloud.target.requests) == 2


async def test_each_attempt_has_new_token_for_url(cloud: TasksBench) -> None:
    cloud.target.script = [500]
    async with cloud.running() as call:
        sent = {**OIDC, "headers": {"authorization": "mine"}}
        await call("CreateTask", parent=QUEUE, task=task(request=sent))
        await cloud.clock.turn(1)
    assert cloud.target.sent("Authorization") == [
        "Bearer id-1-tasks@p-http://worker/run",
        "Bearer id-2-tasks@p-http://worker/run",
    ]
    assert "authorization" not in cloud.target.requests[0].headers


async def test_oauth_token_has_scope_of_task(cloud: TasksBench) -> None:
    token = {"service_account_email": "tasks@p", "scope": "https://scope"}
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(request={"oauth_token": token}))

    assert cloud.target.sent("Authorization") == ["Bearer access-1-tasks@p-https://scope"]


async def test_token_has_audience_of_task(cloud: TasksBench) -> None:
    token = {"service_account_email": "tasks@p", "audience": "https://worker"}
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(request={"oidc_token": token}))
    assert cloud.target.sent("Authorization") == ["Bearer id-1-tasks@p-https://worker"]


async def test_exhausted_task_is_deleted(cloud: TasksBench) -> None:
    cloud.target.script = [500] * 9
    async with cloud.running() as call:
        await call(
            "UpdateQueue",
            queue={"name": QUEUE, "retry_config": {"max_attempts": 3}},
            update_mask={"paths": ["retry_config.max_attempts"]},
        )
        await call("CreateTask", parent=QUEUE, task=task())
        await cloud.clock.turn(60)
        assert len((await call("ListTasks", parent=QUEUE)).tasks) == 0
    assert len(cloud.target.requests) == 3


async def test_scheduled_task_waits_for_its_time(cloud: TasksBench) -> None:
    later = {"seconds": int(cloud.clock.now()) + 60}
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(schedule_time=later))
        await cloud.clock.turn(59)
        assert not cloud.target.requests
        await cloud.clock.turn(1)
        assert len(cloud.target.requests) == 1


async def test_deleted_task_is_not_delivered(cloud: TasksBench) -> None:
    later = {"seconds": int(cloud.clock.now()) + 60}
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1", schedule_time=later))
        await call("DeleteTask", name=f"{QUEUE}/tasks/t1")
        await cloud.clock.turn(120)
    assert not cloud.target.requests


async def test_answer_to_deleted_task_is_ignored(cloud: TasksBench) -> None:
    answer = asyncio.Event()
    cloud.target.script = [answer]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        await call("DeleteTask", name=f"{QUEUE}/tasks/t1")
        answer.set()
        await cloud.clock.turn(60)
        assert len((await call("ListTasks", parent=QUEUE)).tasks) == 0


async def test_paused_queue_delivers_after_resume(
    cloud: TasksBench,
) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        await call("CreateTask", parent=QUEUE, task=task())
        await cloud.clock.turn(60)
        assert not cloud.target.requests
        await call("ResumeQueue", name=QUEUE)
        assert len(cloud.target.requests) == 1


async def test_run_task_delivers_from_paused_queue(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        await call("RunTask", name=f"{QUEUE}/tasks/t1")
        assert len(cloud.target.requests) == 1


async def test_run_task_in_flight_sends_no_second_request(cloud: TasksBench) -> None:
    cloud.target.script = [asyncio.Event()]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        await call("RunTask", name=f"{QUEUE}/tasks/t1")
    assert len(cloud.target.requests) == 1


async def test_purge_drops_waiting_tasks(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        await call("CreateTask", parent=QUEUE, task=task())
        assert (await call("PurgeQueue", name=QUEUE)).HasField("purge_time")
        await call("ResumeQueue", name=QUEUE)
    assert not cloud.target.requests


async def test_accepted_tasks_survive_restart(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        for name in "abc":
            await call("CreateTask", parent=QUEUE, task=task(id=name))
    async with cloud.running() as call:
        assert not cloud.target.requests
        await call("ResumeQueue", name=QUEUE)
    assert cloud.target.sent("X-CloudTasks-TaskName") == ["a", "b", "c"]


async def test_interrupted_attempt_is_repeated_after_restart(
    cloud: TasksBench,
) -> None:
    cloud.target.script = [asyncio.Event()]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
    async with cloud.running():
        pass
    assert cloud.target.sent("X-CloudTasks-TaskName") == ["t1", "t1"]
    assert cloud.target.sent("X-CloudTasks-TaskRetryCount") == ["0", "1"]


async def test_counts_survive_restart(cloud: TasksBench) -> None:
    cloud.target.script = [404]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task())
    async with cloud.running():
        await cloud.clock.turn(1)
    assert cloud.target.sent("X-CloudTasks-TaskExecutionCount") == ["0", "1"]
    assert cloud.target.sent("X-CloudTasks-TaskPreviousResponse") == [None, "404"]


async def test_queue_removed_from_devenv_toml_is_deleted_with_tasks(cloud: TasksBench) -> None:
    own = f"{PARENT}/queues/own"
    later = {"seconds": int(cloud.clock.now()) + 60}
    async with cloud.running() as call:
        await call("CreateQueue", parent=PARENT, queue={"name": own})
        await call("CreateTask", parent=QUEUE, task=task(schedule_time=later))
    cloud.config = CloudConfig()
    async with cloud.running() as call:
        assert [queue.name for queue in (await call("ListQueues", parent=PARENT)).queues] == [own]
    cloud.config = CloudConfig(queues=(QueueConfig(name="runs"),))
    async with cloud.running() as call:
        assert not (await call("ListTasks", parent=QUEUE)).tasks
        await cloud.clock.turn(120)
    assert not cloud.target.requests
