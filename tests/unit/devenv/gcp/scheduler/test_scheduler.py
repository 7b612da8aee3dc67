"""Jobs, their slots and their executions, on a clock that the tests turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from google.cloud import scheduler_v1
from hypothesis import HealthCheck, given, settings

from devenv.gcp.caller import ApiCall
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig, ScheduleConfig
from devenv.gcp.delivery import DeliveryFailed
from devenv.gcp.errors import (
    AlreadyExists,
    CloudError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unimplemented,
)
from devenv.gcp.scheduler.service import SchedulerService
from devenv.gcp.store import Store
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeMinter, FakeTarget, FakeTopics, settle
from tests.unit.devenv.gcp.garbage import messages

pytestmark = pytest.mark.anyio

PARENT = "projects/local-project/locations/us-west1"
NAME = f"{PARENT}/jobs/tick"
TARGET = {"uri": "http://worker/tick"}
SLOT = 1_800_000_000.0  # a full minute

type Invoke = Callable[..., Awaitable[Any]]


class SchedulerBench:
    def __init__(self) -> None:
        self.clock = ManualClock(SLOT + 30)
        self.target = FakeTarget()
        self.guard = FakeGuard()
        self.store = Store(":memory:")
        self.target_ready = asyncio.Event()
        self.target_ready.set()
        self.schedules: tuple[ScheduleConfig, ...] = ()
        self.topics = FakeTopics()

    def make(self) -> SchedulerService:
        return SchedulerService(
            config=CloudConfig(schedules=self.schedules),
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            minter=FakeMinter(),
            send=self.target.send,
            topics=self.topics,
            ready=self._ready,
        )

    async def lose(self, seconds: float) -> None:
        """Set the clock back while it runs."""
        self.clock.lose(seconds)
        self.service.take_back(seconds)
        await settle()

    async def _ready(self, _url: str) -> None:
        await self.target_ready.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Invoke]:
        self.service = service = self.make()
        methods = {rpc.method.rpartition("/")[2]: rpc for rpc in service.rpcs()}

        async def call(method: str, request: Any = None, **fields: Any) -> Any:
            rpc = methods[method]
            answer = await rpc.handle(request or rpc.request(**fields), ApiCall())
            await settle()
            return answer

        await service.start()
        await settle()
        yield call
        await service.stop()


@pytest.fixture
def cloud() -> Iterator[SchedulerBench]:
    cloud = SchedulerBench()
    yield cloud
    cloud.store.close()


def job(**fields: Any) -> dict[str, Any]:
    return {"name": NAME, "schedule": "* * * * *", "http_target": TARGET, **fields}


async def test_job_fires_at_its_next_slot_after_the_clock_was_reset(
    cloud: SchedulerBench,
) -> None:
    cloud.schedules = (ScheduleConfig("tick", "* * * * *", "http://worker/tick", "tasks"),)
    await cloud.clock.turn(86_400)
    async with cloud.running():
        await cloud.lose(86_400)
        await cloud.clock.turn(90)
    assert len(cloud.target.requests) == 2


async def test_retries_end_in_time_after_the_clock_was_reset(cloud: SchedulerBench) -> None:
    cloud.target.script = [500] * 60
    pauses = ("max_retry_duration", "min_backoff_duration", "max_backoff_duration")
    retries = dict(zip(pauses, ({"seconds": each} for each in (1000, 600, 600)), strict=True))
    async with cloud.running() as call:
        yearly = job(schedule="0 0 1 1 *", retry_config=retries)
        await call("CreateJob", parent=PARENT, job=yearly)
        await cloud.clock.turn(86_400)
        await call("RunJob", name=NAME)
        await cloud.lose(86_400)
        await cloud.clock.turn(6000)

    assert len(cloud.target.requests) == 3  # at once, after 600 s and after 1200 s


async def test_job_fires_at_its_slots_with_headers(cloud: SchedulerBench) -> None:
    token = {"service_account_email": "tasks@p"}
    target = {**TARGET, "body": b"x", "oidc_token": token}
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job(http_target=target))
        await cloud.clock.turn(29)
        assert not cloud.target.requests
        await cloud.clock.turn(61)
    first, second = cloud.target.requests
    assert first.headers == {
        "User-Agent": "Google-Cloud-Scheduler",
        "Content-Type": "application/octet-stream",
        "Authorization": "Bearer id-1-tasks@p-http://worker/tick",
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": "tick",
        "X-CloudScheduler-ScheduleTime": "2027-01-15T08:01:00Z",
    }
    assert second.headers["X-CloudScheduler-ScheduleTime"] == "2027-01-15T08:02:00Z"
    assert (first.method, first.deadline) == ("POST", 180)


async def test_job_shows_last_attempt_and_next_slot(cloud: SchedulerBench) -> None:
    cloud.target.script = [500]
    async with cloud.running() as call:
        created = await call("CreateJob", parent=PARENT, job=job())
        assert created.schedule_time.seconds == SLOT + 60
        await cloud.clock.turn(30)
        found = await call("GetJob", name=NAME)
    assert found.last_attempt_time.seconds == SLOT + 60
    assert found.schedule_time.seconds == SLOT + 120
    assert found.status.message == "INTERNAL(13): HTTP status code 500"


async def test_slot_waits_until_target_is_ready(cloud: SchedulerBench) -> None:
    cloud.target_ready.clear()
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        await cloud.clock.turn(40)
        assert not cloud.target.requests
        cloud.target_ready.set()
        await settle()
    [request] = cloud.target.requests
    assert request.headers["X-CloudScheduler-ScheduleTime"] == "2027-01-15T08:01:00Z"


async def test_job_publishes_to_its_topic(cloud: SchedulerBench) -> None:
    topic = "projects/local-project/topics/ticks"
    target = {"topic_name": topic, "data": b"tick", "attributes": {"a": "b"}}
    message = {"name": NAME, "schedule": "* * * * *", "pubsub_target": target}
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=message)
        await cloud.clock.turn(30)
        cloud.topics.missing.add(topic)
        await cloud.clock.turn(60)
        found = await call("GetJob", name=NAME)
    assert cloud.topics.published == [(topic, b"tick", {"a": "b"})]
    assert found.status.message == "NOT_FOUND(5): HTTP status code 404"


@pytest.mark.parametrize(
    "target", [{"topic_name": "ticks", "data": b"x"}, {"topic_name": "projects/p/topics/ticks"}]
)
async def test_wrong_topic_target_is_refused(cloud: SchedulerBench, target: dict[str, Any]) -> None:
    message = {"name": NAME, "schedule": "* * * * *", "pubsub_target": target}
    async with cloud.running() as call:
        with pytest.raises(InvalidArgument, match="PubsubTarget"):
            await call("CreateJob", parent=PARENT, job=message)


async def test_failed_job_waits_for_next_slot(cloud: SchedulerBench) -> None:
    cloud.target.script = [500]
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        await cloud.clock.turn(89)
        assert len(cloud.target.requests) == 1


async def test_failed_job_is_retried_up_to_retry_count(cloud: SchedulerBench) -> None:
    cloud.target.script = [500] * 9
    async with cloud.running() as call:
        hourly = job(schedule="1 8 * * *", retry_config={"retry_count": 3})
        await call("CreateJob", parent=PARENT, job=hourly)
        counts = []
        for pause in (30, 4, 1, 10, 20, 1000):
            await cloud.clock.turn(pause)
            counts.append(len(cloud.target.requests))
    assert counts == [1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    "error", [TimeoutError(), DeliveryFailed("refused"), RuntimeError("a bug")]
)
async def test_job_continues_after_any_delivery_error(
    cloud: SchedulerBench, error: Exception
) -> None:
    cloud.target.script = [error]
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        await cloud.clock.turn(90)
    assert len(cloud.target.requests) == 2


async def test_retries_stop_at_next_slot(cloud: SchedulerBench) -> None:
    cloud.target.script = [500] * 5
    retries = {"retry_count": 5, "min_backoff_duration": {"seconds": 25}}
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job(retry_config=retries))
        await cloud.clock.turn(30 + 59)
    times = [r.headers["X-CloudScheduler-ScheduleTime"] for r in cloud.target.requests]
    assert times == ["2027-01-15T08:01:00Z"] * 2


async def test_job_never_overlaps_itself(cloud: SchedulerBench) -> None:
    answer = asyncio.Event()
    cloud.target.script = [answer]
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        await cloud.clock.turn(30 + 150)
        await call("RunJob", name=NAME)
        assert len(cloud.target.requests) == 1
        answer.set()
        await settle()
        assert len(cloud.target.requests) == 2
        await cloud.clock.turn(29)
        assert len(cloud.target.requests) == 2


async def test_paused_job_runs_on_request_only(cloud: SchedulerBench) -> None:
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        paused = await call("PauseJob", name=NAME)
        assert not paused.HasField("schedule_time")
        await cloud.clock.turn(600)
        assert not cloud.target.requests
        await call("RunJob", name=NAME)
        assert len(cloud.target.requests) == 1
        await call("ResumeJob", name=NAME)
        await cloud.clock.turn(60)
        assert len(cloud.target.requests) == 2


async def test_pause_of_paused_job_is_refused(cloud: SchedulerBench) -> None:
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        with pytest.raises(FailedPrecondition):
            await call("ResumeJob", name=NAME)


async def test_update_changes_masked_fields_only(cloud: SchedulerBench) -> None:
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job(description="old"))
        await call(
            "UpdateJob",
            job={"name": NAME, "schedule": "0 0 * * *"},
            update_mask={"paths": ["schedule"]},
        )
        await cloud.clock.turn(600)
        found = await call("GetJob", name=NAME)
    assert (found.schedule, found.description) == ("0 0 * * *", "old")
    assert found.http_target.uri == TARGET["uri"]
    assert not cloud.target.requests


async def test_deleted_job_is_gone(cloud: SchedulerBench) -> None:
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        await call("DeleteJob", name=NAME)
        await cloud.clock.turn(600)
        with pytest.raises(NotFound):
            await call("GetJob", name=NAME)
    assert not cloud.target.requests


async def test_create_existing_name_is_refused(cloud: SchedulerBench) -> None:
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        with pytest.raises(AlreadyExists):
            await call("CreateJob", parent=PARENT, job=job())


async def test_unknown_account_is_refused(cloud: SchedulerBench) -> None:
    target = {**TARGET, "oidc_token": {"service_account_email": "nobody@p"}}
    async with cloud.running() as call:
        with pytest.raises(NotFound):
            await call("CreateJob", parent=PARENT, job=job(http_target=target))


async def test_each_method_checks_its_permission(cloud: SchedulerBench) -> None:
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
        for method, verb in (("GetJob", "get"), ("RunJob", "run"), ("ResumeJob", "enable")):
            cloud.guard.denied.add(f"cloudscheduler.jobs.{verb}")
            with pytest.raises(PermissionDenied):
                await call(method, name=NAME)


async def test_jobs_survive_restart_without_missed_slots(cloud: SchedulerBench) -> None:
    async with cloud.running() as call:
        await call("CreateJob", parent=PARENT, job=job())
    cloud.clock = ManualClock(SLOT + 3600)
    async with cloud.running():
        assert not cloud.target.requests
        await cloud.clock.turn(60)
        assert len(cloud.target.requests) == 1


async def test_configured_job_keeps_last_attempt_at_restart(cloud: SchedulerBench) -> None:
    cloud.schedules = (
        ScheduleConfig(name="tick", schedule="* * * * *", uri="http://worker/a", account="tasks"),
    )
    async with cloud.running() as call:
        found = await call("GetJob", name=NAME)
        assert found.http_target.oidc_token.service_account_email.startswith("tasks@")
        cloud.target.script = [500]
        await call("RunJob", name=NAME)
        await call("PauseJob", name=NAME)
        before = await call("GetJob", name=NAME)
        assert before.last_attempt_time.seconds == cloud.clock.now()
    async with cloud.running() as call:
        await cloud.clock.turn(600)
        after = await call("GetJob", name=NAME)
    assert (after.last_attempt_time, after.status) == (before.last_attempt_time, before.status)
    assert len(cloud.target.requests) == 1


async def test_schedule_removed_from_devenv_toml_stops_firing(cloud: SchedulerBench) -> None:
    tick = ScheduleConfig(name="tick", schedule="* * * * *", uri="http://worker/a", account="tasks")
    cloud.schedules = (tick,)
    async with cloud.running() as call:
        created = f"{PARENT}/jobs/created"
        await call("CreateJob", parent=PARENT, job=job(name=created, schedule="0 0 1 1 *"))

    cloud.schedules = ()
    async with cloud.running() as call:
        await cloud.clock.turn(600)
        with pytest.raises(NotFound):
            await call("GetJob", name=NAME)
        assert (await call("GetJob", name=created)).name == created
    assert not cloud.target.requests


@pytest.mark.parametrize(
    ("field", "value"),
    [("app_engine_http_target", {"relative_uri": "/"})],
)
async def test_field_that_is_not_emulated_is_named(
    cloud: SchedulerBench, field: str, value: dict[str, Any]
) -> None:
    wanted = {"schedule": "* * * * *", field: value}
    async with cloud.running() as call:
        with pytest.raises(Unimplemented, match=f"job.{field} is not emulated"):
            await call("CreateJob", parent=PARENT, job=wanted)


SOME = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SOME
@given(wanted=messages(scheduler_v1.Job.pb()))
def test_accepted_job_can_be_run(cloud: SchedulerBench, wanted: Any) -> None:
    cloud.target.script = [500, TimeoutError()]
    wanted.name, wanted.http_target.uri, wanted.schedule = NAME, TARGET["uri"], "* * * * *"

    async def execute() -> None:
        async with cloud.running() as call:
            with suppress(CloudError):
                await call("CreateJob", parent=PARENT, job=wanted)
                await call("RunJob", name=NAME)
                await cloud.clock.turn(61)
                await call("DeleteJob", name=NAME)

    asyncio.run(execute())
