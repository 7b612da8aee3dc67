"""Methods of Cloud Tasks: defaults, bounds and error texts."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from google.cloud import tasks_v2
from hypothesis import HealthCheck, given, settings

from devenv.gcp.errors import (
    AlreadyExists,
    CloudError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unimplemented,
)
from devenv.gcp.store import Table
from tests.unit.devenv.gcp.garbage import messages
from tests.unit.devenv.gcp.tasks.cloud import PARENT, QUEUE, TasksBench, task

pytestmark = pytest.mark.anyio

NEW = f"{PARENT}/queues/new"
NO_QUEUE = "Queue does not exist. If you just created the queue, wait at least a minute"
MISSING = f"{PARENT}/queues/missing"
FULL = tasks_v2.Task.View.FULL


async def test_queue_gets_googles_defaults(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        queue = await call("CreateQueue", parent=PARENT, queue={"name": NEW})
    rates, retries = queue.rate_limits, queue.retry_config
    assert (rates.max_dispatches_per_second, rates.max_burst_size) == (500, 100)
    assert rates.max_concurrent_dispatches == 1000
    assert (retries.max_attempts, retries.max_doublings) == (100, 16)
    assert (retries.min_backoff.nanos, retries.max_backoff.seconds) == (10**8, 3600)
    assert queue.state == tasks_v2.Queue.State.RUNNING


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 1), (1, 10), (5, 10), (200, 40), (500, 100)])
async def test_queue_shows_the_burst_of_its_rate(
    cloud: TasksBench, rate: float, burst: int
) -> None:
    limits = {"max_dispatches_per_second": rate}
    async with cloud.running() as call:
        queue = await call("CreateQueue", parent=PARENT, queue={"name": NEW, "rate_limits": limits})

    assert queue.rate_limits.max_burst_size == burst


@pytest.mark.parametrize(
    ("queue", "text"),
    [
        ({"rate_limits": {"max_dispatches_per_second": -1}}, "cannot be negative"),
        ({"rate_limits": {"max_dispatches_per_second": 501}}, "less than or equal to 500."),
        ({"rate_limits": {"max_dispatches_per_second": float("nan")}}, "cannot be negative"),
        ({"rate_limits": {"max_concurrent_dispatches": 5001}}, "less than or equal to 5000."),
        ({"http_target": {"uri_override": {"host": "a/b"}}}, "host is not a valid host."),
        ({"http_target": {"uri_override": {"port": 65536}}}, "port must be between 0 and 65535."),
        (
            {"http_target": {"oidc_token": {"service_account_email": "tasks@p"}}},
            "both serviceAccountEmail and audience must be specified.",
        ),
        ({"retry_config": {"max_attempts": -2}}, "must be greater or equal to -1."),
        ({"retry_config": {"max_doublings": -1}}, "maxDoublings cannot be negative."),
        ({"retry_config": {"min_backoff": {"seconds": -1}}}, "minBackoff cannot be negative."),
        ({"retry_config": {"min_backoff": {"seconds": 3601}}}, "less than or equal to Retry"),
    ],
)
async def test_queue_limits_out_of_bounds_are_refused(
    cloud: TasksBench, queue: dict[str, Any], text: str
) -> None:
    async with cloud.running() as call:
        with pytest.raises(InvalidArgument, match=text):
            await call("CreateQueue", parent=PARENT, queue={"name": NEW, **queue})


@pytest.mark.parametrize(
    ("method", "fields", "name"),
    [
        (
            "CreateQueue",
            {"queue": {"name": NEW, "stackdriver_logging_config": {"sampling_ratio": 1}}},
            "queue.stackdriver_logging_config",
        ),
        ("ListQueues", {"filter": "state=PAUSED"}, "filter"),
        (
            "CreateTask",
            {"parent": QUEUE, "task": {"app_engine_http_request": {"body": b"x"}}},
            "task",
        ),
    ],
)
async def test_field_that_is_not_emulated_is_named(
    cloud: TasksBench, method: str, fields: dict[str, Any], name: str
) -> None:
    async with cloud.running() as call:
        with pytest.raises(Unimplemented, match=f"{name}.* is not emulated"):
            await call(method, **{"parent": PARENT, **fields})


async def test_backoff_is_truncated_to_seconds(cloud: TasksBench) -> None:
    retries = {"min_backoff": {"seconds": 2, "nanos": 5}}
    async with cloud.running() as call:
        queue = await call(
            "CreateQueue", parent=PARENT, queue={"name": NEW, "retry_config": retries}
        )
    assert (queue.retry_config.min_backoff.seconds, queue.retry_config.min_backoff.nanos) == (2, 0)


async def test_change_of_a_queue_that_cannot_be_written_is_none(
    cloud: TasksBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloud.running() as call:
        before = (await call("GetQueue", name=QUEUE)).SerializeToString()
        changed = {"name": QUEUE, "rate_limits": {"max_dispatches_per_second": 1}}
        with monkeypatch.context() as patch:
            patch.setattr(Table, "put", _refuse)
            for method in ("PauseQueue", "PurgeQueue"):
                with pytest.raises(OSError, match="disk is full"):
                    await call(method, name=QUEUE)
            with pytest.raises(OSError, match="disk is full"):
                await call("CreateQueue", parent=PARENT, queue={"name": f"{QUEUE}-2"})
            with pytest.raises(OSError, match="disk is full"):
                await call("UpdateQueue", queue=changed)
        answer = await call("ListQueues", parent=PARENT)
        assert [each.SerializeToString() for each in answer.queues] == [before]


def _refuse(_table: Table, _key: str, _value: bytes) -> None:
    raise OSError("disk is full")


async def test_queue_name_is_blocked_after_deletion(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("CreateQueue", parent=PARENT, queue={"name": NEW})
        with pytest.raises(AlreadyExists, match=r"^Queue already exists$"):
            await call("CreateQueue", parent=PARENT, queue={"name": NEW})
        await call("DeleteQueue", name=NEW)
        with pytest.raises(FailedPrecondition, match="existed too recently"):
            await call("CreateQueue", parent=PARENT, queue={"name": NEW})
        await cloud.clock.turn(61)
        await call("CreateQueue", parent=PARENT, queue={"name": NEW})


async def test_delete_queue_drops_its_tasks(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        await call("CreateTask", parent=QUEUE, task=task())
        await call("DeleteQueue", name=QUEUE)
    async with cloud.running() as call:
        assert len((await call("ListTasks", parent=QUEUE)).tasks) == 0
    assert not cloud.target.requests


@pytest.mark.parametrize("method", ["GetQueue", "PauseQueue", "ResumeQueue", "PurgeQueue"])
async def test_missing_queue_is_not_found(cloud: TasksBench, method: str) -> None:
    async with cloud.running() as call:
        with pytest.raises(NotFound, match=NO_QUEUE):
            await call(method, name=MISSING)
        with pytest.raises(NotFound, match=r"^Requested entity was not found\.$"):
            await call("DeleteQueue", name=MISSING)
        with pytest.raises(NotFound, match=NO_QUEUE):
            await call("CreateTask", parent=MISSING, task=task())


@pytest.mark.parametrize("method", ["GetTask", "DeleteTask", "RunTask"])
async def test_missing_task_is_not_found(cloud: TasksBench, method: str) -> None:
    async with cloud.running() as call:
        for queue in (QUEUE, MISSING):
            with pytest.raises(NotFound, match=r"^Requested entity was not found\.$"):
                await call(method, name=f"{queue}/tasks/none")


async def test_other_project_is_refused_by_name(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        with pytest.raises(PermissionDenied) as refused:
            await call("CreateQueue", parent="not-a-valid-parent", queue={"name": NEW})
    assert refused.value.message == "Permission denied on resource project not-a-valid-parent."
    assert refused.value.details[0].reason == "CONSUMER_INVALID"


async def test_project_number_is_accepted(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        found = await call("GetQueue", name=QUEUE.replace("local-project", "123456789012"))
    assert found.name == QUEUE


async def test_malformed_name_error_links_to_definition(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        with pytest.raises(InvalidArgument, match="Queue name must be formatted:") as queue:
            await call("GetQueue", name="runs")
        with pytest.raises(InvalidArgument, match='Task ID "not a valid id" can contain') as bad:
            await call("GetTask", name=f"{QUEUE}/tasks/not a valid id")
    assert queue.value.details[0].links[0].description == "Definition of queue name"
    assert bad.value.details[0].links[0].description == "Definition of task ID"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"url": ""}, r"^HttpRequest\.url is required\.$"),
        ({"url": "ftp://x"}, r"^HttpTarget\.url must start with 'http://' or 'https://'\.$"),
        ({"url": "http://[::1"}, "not a valid URL"),
        ({"url": "http://x:99999/"}, "not a valid URL"),
        ({"url": "http://x/" + "a" * 2083}, "2083"),
        ({"schedule_time": {"seconds": 1_800_000_000 + 721 * 3600}}, "no more than 720h in the fu"),
        ({"schedule_time": {"seconds": 2**62}}, "out of range"),
        ({"dispatch_deadline": {"seconds": 14}}, r"must be between \[15s, 30m\]\.$"),
        ({"dispatch_deadline": {"seconds": 1801}}, r"must be between \[15s, 30m\]\.$"),
        ({"request": {"http_method": 2}}, "body is not allowed with the HTTP method GET"),
        ({"request": {"http_method": 99}}, "Invalid HTTP method"),
        ({"request": {"headers": {"a": "b\r\nc: d"}}}, "header 'a' is not valid"),
        ({"request": {"headers": {"a": "b" * 90_000}}}, "less than 80KB"),
        ({"request": {"body": b"x" * 1_048_576}}, "Task size too large"),
    ],
)
async def test_invalid_task_is_refused(
    cloud: TasksBench, fields: dict[str, Any], text: str
) -> None:
    async with cloud.running() as call:
        with pytest.raises(InvalidArgument, match=text):
            await call("CreateTask", parent=QUEUE, task=task(**fields))


async def test_task_name_is_blocked_after_completion(
    cloud: TasksBench,
) -> None:
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        with pytest.raises(NotFound, match="a task with this name existed recently"):
            await call("GetTask", name=f"{QUEUE}/tasks/t1")
    async with cloud.running() as call:  # nor does a new process forget it
        with pytest.raises(AlreadyExists, match=r"^Requested entity already exists$"):
            await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        await cloud.clock.turn(3601)
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
    assert len(cloud.target.requests) == 2


async def test_task_name_must_be_in_queue_of_request(cloud: TasksBench) -> None:
    other = {"name": f"{QUEUE}-other/tasks/t1", "http_request": {"url": "http://x/"}}
    async with cloud.running() as call:
        with pytest.raises(InvalidArgument) as refused:
            await call("CreateTask", parent=QUEUE, task=other)
    assert refused.value.message == (
        f"The queue name from request ('{QUEUE}') must be the same as "
        f"the queue name in the named task ('{QUEUE}-other')."
    )


async def test_unknown_service_account_is_not_found(cloud: TasksBench) -> None:
    unknown = {"oidc_token": {"service_account_email": "nobody@p"}}
    async with cloud.running() as call:
        with pytest.raises(NotFound):
            await call("CreateTask", parent=QUEUE, task=task(request=unknown))


async def test_create_task_needs_act_as_on_its_account(cloud: TasksBench) -> None:
    known = {"oidc_token": {"service_account_email": "tasks@p"}}
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(request=known))
        assert cloud.guard.asked[-2:] == [
            ("cloudtasks.tasks.create", QUEUE),
            ("iam.serviceAccounts.actAs", "projects/local-project/serviceAccounts/tasks@p"),
        ]
        cloud.guard.denied.add("iam.serviceAccounts.actAs")
        with pytest.raises(PermissionDenied):
            await call("CreateTask", parent=QUEUE, task=task(request=known))


async def test_full_view_has_body_and_needs_permission(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        basic = await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        full = await call("GetTask", name=f"{QUEUE}/tasks/t1", response_view=FULL)
        cloud.guard.denied.add("cloudtasks.tasks.fullView")
        with pytest.raises(PermissionDenied):
            await call("ListTasks", parent=QUEUE, response_view=FULL)
    assert (basic.http_request.body, full.http_request.body) == (b"", b"{}")
    assert basic.http_request.headers["User-Agent"] == "Google-Cloud-Tasks"


async def test_task_shows_its_attempts(cloud: TasksBench) -> None:
    cloud.target.script = [503, TimeoutError()]
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        await cloud.clock.turn(0.25)
        found = await call("GetTask", name=f"{QUEUE}/tasks/t1")
    assert (found.dispatch_count, found.response_count) == (2, 1)
    assert found.first_attempt.dispatch_time.seconds == 1_800_000_000
    assert not found.first_attempt.HasField("response_status")
    status = found.last_attempt.response_status
    assert (status.code, status.message) == (4, "DEADLINE_EXCEEDED(4): HTTP status code 504")


async def test_tasks_are_listed_in_pages(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        for name in "dbeac":
            await call("CreateTask", parent=QUEUE, task=task(id=name))
        first = await call("ListTasks", parent=QUEUE, page_size=3)
        rest = await call("ListTasks", parent=QUEUE, page_token=first.next_page_token)
        with pytest.raises(InvalidArgument):
            await call("ListTasks", parent=QUEUE, page_token="no token")
    names = [each.name[-1] for each in (*first.tasks, *rest.tasks)]
    assert (names, rest.next_page_token) == (list("abcde"), "")


async def test_update_changes_masked_fields_only(cloud: TasksBench) -> None:
    wanted = {"name": QUEUE, "rate_limits": {"max_dispatches_per_second": 5}}
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        queue = await call(
            "UpdateQueue",
            queue={**wanted, "retry_config": {"max_attempts": 7}},
            update_mask={"paths": ["rate_limits.max_dispatches_per_second"]},
        )
        with pytest.raises(InvalidArgument):
            await call("UpdateQueue", queue=wanted, update_mask={"paths": ["colour"]})
    assert queue.rate_limits.max_dispatches_per_second == 5
    assert queue.retry_config.max_attempts == 100
    assert queue.state == tasks_v2.Queue.State.PAUSED


async def test_update_creates_missing_queue(cloud: TasksBench) -> None:
    async with cloud.running() as call:
        await call("UpdateQueue", queue={"name": NEW})
        listed = await call("ListQueues", parent=PARENT, page_size=1)
        rest = await call("ListQueues", parent=PARENT, page_token=listed.next_page_token)
        with pytest.raises(InvalidArgument):
            await call("ListQueues", parent=PARENT, page_size=-1)
    assert [each.name for each in (*listed.queues, *rest.queues)] == [NEW, QUEUE]


SOME = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SOME
@given(queue=messages(tasks_v2.Queue.pb()), entry=messages(tasks_v2.Task.pb()))
def test_accepted_task_can_be_delivered(cloud: TasksBench, queue: Any, entry: Any) -> None:
    cloud.target.script = [500, 503, TimeoutError()]
    queue.name, entry.name, entry.http_request.url = QUEUE, "", "http://worker/"

    async def deliver() -> Any:
        async with cloud.running() as call:
            with suppress(CloudError):
                await call("UpdateQueue", queue=queue)
            with suppress(CloudError):
                await call("CreateTask", parent=QUEUE, task=entry)
            await cloud.clock.turn(10)
            return (await call("ListTasks", parent=QUEUE)).tasks

    assert all(each.dispatch_count <= 100 for each in asyncio.run(deliver()))
