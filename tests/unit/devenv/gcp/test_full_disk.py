"""A full disk: a clear error for the caller, one line in the log, and memory as the database has it."""

import asyncio
import errno
import logging
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from starlette.types import Receive, Scope, Send

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.errors import Aborted, ResourceExhausted, Unavailable, refuse_on_full_disk
from devenv.gcp.fault_matchers import ANY
from devenv.gcp.faults import Fault, Faults
from devenv.gcp.intercept.router import Router
from devenv.gcp.journal import JournalEntry
from devenv.gcp.rpc import HttpMount, HttpRule, Rpc
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.run_services.deployments import Deployments
from devenv.gcp.run_services.records import DECLARED_IMAGE, Revision, Service, ServicesState
from devenv.gcp.run_services.routing import Routes
from devenv.gcp.sql.operations import SqlOperations
from devenv.gcp.store import Store, Table
from tests.unit.devenv.gcp.fakes import Everybody, MemoryJournal, MemoryStore, no_faults, settle
from tests.unit.devenv.gcp.rpc.grpc_client import EchoMethods, GrpcClient, data, echo
from tests.unit.devenv.gcp.run_jobs.bench import PlayedRuntime
from tests.unit.devenv.gcp.run_services.bench import instances
from tests.unit.devenv.gcp.scheduler.test_scheduler import NAME, PARENT as JOBS, SchedulerBench
from tests.unit.devenv.gcp.tasks.cloud import QUEUE, TasksBench, task
from tests.unit.devenv.gcp.web import Web

SQLITE_FULL = sqlite3.OperationalError("database or disk is full")
SQLITE_FULL.sqlite_errorcode = sqlite3.SQLITE_FULL
FULL = (SQLITE_FULL, OSError(errno.ENOSPC, "No space left on device"))


@contextmanager
def full_disk(store: Store) -> Iterator[None]:
    """Let the store's database grow no more, nor change: a database in memory has no other limit."""
    store.connection.execute("PRAGMA query_only = ON")
    yield
    store.connection.execute("PRAGMA query_only = OFF")


def is_reported(caplog: pytest.LogCaptureFixture) -> bool:
    """Return whether one line says that the disk is full, without a traceback."""
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    return "disk of this machine is full" in record.getMessage() and not record.exc_info


@pytest.mark.parametrize("error", FULL)
def test_write_by_rest_is_answered_with_resource_exhausted(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    methods = EchoMethods()
    methods.error = error
    name, rule = "google.cloud.run.v2.Jobs/RunJob", HttpRule("POST", "/v1/echo")
    rpc = Rpc(name, BytesValue, BytesValue, methods.answer, (rule,))
    answer = Web(RestApp([rpc], Calls(Everybody(), MemoryJournal(), no_faults()))).post("/v1/echo")
    found = answer.json()["error"]
    assert (answer.status_code, found["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert found["message"].startswith("The disk of this machine is full, so nothing was changed.")
    assert is_reported(caplog)


@pytest.mark.anyio
@pytest.mark.parametrize("error", FULL)
async def test_write_by_grpc_is_answered_with_resource_exhausted(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client = GrpcClient()
    client.desk.error = error
    client.send(client.head() + data(echo(b"one")))
    headers, _ = await client.answer()
    assert headers["grpc-status"] == str(ResourceExhausted.code)
    assert "Free some space" in headers["grpc-message"]
    assert is_reported(caplog)


@pytest.mark.parametrize("error", FULL)
def test_write_to_a_mounted_service_is_answered_with_resource_exhausted(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    router = Router(
        [HttpMount(("m.googleapis.com",), app, takes_rest=True)],
        app,
        control=app,
        journal=MemoryJournal(),
        faults=no_faults(),
        who=str,
    )
    answer = Web(router).get("/", headers={"host": "m.googleapis.com"})
    assert (answer.status_code, answer.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert is_reported(caplog)


def test_other_errors_of_files_are_not_taken_for_a_full_disk() -> None:
    with pytest.raises(FileNotFoundError), refuse_on_full_disk("t.T/Echo"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")


@pytest.mark.anyio
async def test_call_whose_journal_row_has_no_room_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = MemoryJournal()
    journal._rows.execute("PRAGMA query_only = ON")
    for _ in range(200):  # a group, which is written at once
        with journal.entry("t.T/Echo"):
            pass
    assert "could not be written and are lost" in caplog.text


@pytest.mark.anyio
async def test_fault_that_cannot_be_written_is_none() -> None:
    store = MemoryStore()
    faults = Faults(store, ManualClock())
    faults.know({"t.T": ANY})
    faults.add(Fault(method="t.T", status=503))
    before = faults.all()
    with full_disk(store):
        with pytest.raises(sqlite3.Error):
            faults._save(Fault(method="t.T", id=7))
        with pytest.raises(sqlite3.Error):
            faults.remove()
    assert faults.all() == before


@pytest.mark.anyio
async def test_call_whose_fault_cannot_be_counted_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults(MemoryStore(), ManualClock())
    faults.know({"t.T": ANY})
    before = faults.add(Fault(method="t.T", status=503))
    monkeypatch.setattr(Table, "put", Mock(side_effect=SQLITE_FULL))
    with pytest.raises(ResourceExhausted):
        faults.strike(JournalEntry(0.0, "t.T"))
    assert faults.all() == [before]
    assert is_reported(caplog)


@pytest.mark.anyio
async def test_change_of_a_scheduler_job_that_cannot_be_written_is_none() -> None:
    cloud = SchedulerBench()
    job = {"name": NAME, "schedule": "* * * * *", "http_target": {"uri": "http://worker/tick"}}
    other = {**job, "name": f"{NAME}-2"}
    async with cloud.running() as call:
        before = str(await call("CreateJob", parent=JOBS, job=job))
        with full_disk(cloud.store):
            for method, fields in (
                ("CreateJob", {"parent": JOBS, "job": other}),
                ("UpdateJob", {"job": {**job, "schedule": "0 * * * *"}}),
                ("PauseJob", {"name": NAME}),
                ("DeleteJob", {"name": NAME}),
            ):
                with pytest.raises(sqlite3.Error):
                    await call(method, **fields)
            assert [str(each) for each in (await call("ListJobs", parent=JOBS)).jobs] == [before]
            await cloud.clock.turn(61)
        await cloud.clock.turn(60)
        assert len(cloud.target.requests) == 2
    cloud.store.close()


@pytest.mark.anyio
async def test_scheduled_message_that_cannot_be_written_is_tried_again() -> None:
    cloud = SchedulerBench()
    target = {"topic_name": "projects/p/topics/t", "data": b"tick"}
    job = {"name": NAME, "schedule": "0 0 1 1 *", "pubsub_target": target}
    async with cloud.running() as call:
        await call("CreateJob", parent=JOBS, job={**job, "retry_config": {"retry_count": 1}})
        cloud.topics.problem = SQLITE_FULL
        await call("RunJob", name=NAME)
        await cloud.clock.turn(1)
        assert (await call("GetJob", name=NAME)).status.code == Unavailable.code
        cloud.topics.problem = None
        await cloud.clock.turn(60)
    assert [data for _, data, _ in cloud.topics.published] == [b"tick"]
    cloud.store.close()


@pytest.mark.anyio
async def test_deployment_ends_once_its_end_can_be_written() -> None:
    store, clock = MemoryStore(), ManualClock()
    state, context = ServicesState(store), instances(PlayedRuntime(), clock=clock)
    routes = Routes(CloudConfig(), state, context, declared_timeout=1.0)
    name = "projects/p/locations/r/services/s"
    service = Service(name=name, uid=str(uuid.uuid4()), uri="https://s.run.app", generation=1)
    containers = [{"image": f"{DECLARED_IMAGE}s"}]
    revision = Revision(name=f"{name}/revisions/a", containers=containers)
    Deployments(state, routes, context).change(service, revision)
    with full_disk(store):
        await settle()
        await clock.turn(10)
        assert [each.done for each in state.operations.below("projects")] == [False]
    await clock.turn(1)
    assert [each.HasField("response") for each in state.operations.below("projects")] == [True]
    await routes.stop()


@pytest.mark.anyio
async def test_sql_operation_waits_until_its_steps_can_be_written() -> None:
    store, clock = MemoryStore(), ManualClock()
    operations = SqlOperations("p", store, clock)

    worked = asyncio.Event()

    async def work() -> None:
        worked.set()
        store.connection.execute("PRAGMA query_only = ON")

    def begin_and_fail() -> None:
        with store.transaction():
            operations.begin(None, "DELETE", "main", work)
            raise SQLITE_FULL

    with pytest.raises(sqlite3.Error):
        begin_and_fail()
    await settle()
    assert not worked.is_set()

    operations.begin(None, "UPDATE", "main", work)
    with full_disk(store):
        await settle()
        await clock.turn(10)
        assert not worked.is_set()  # a change of an instance that nobody would end
    await clock.turn(10)
    assert worked.is_set()
    with pytest.raises(Aborted):
        operations.check_idle("main")
    store.connection.execute("PRAGMA query_only = OFF")
    await clock.turn(1)
    operations.check_idle("main")


@pytest.mark.anyio
async def test_task_whose_deletion_is_rolled_back_keeps_its_name() -> None:
    cloud = TasksBench()
    name = f"{QUEUE}/tasks/t1"
    async with cloud.running() as call:
        await call("PauseQueue", name=QUEUE)
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        commit = cloud.store.commit

        def fail() -> None:
            raise SQLITE_FULL

        cloud.store.commit = fail  # type: ignore[method-assign]
        for method, of in (("DeleteTask", name), ("DeleteQueue", QUEUE)):
            with pytest.raises(sqlite3.Error):
                await call(method, name=of)
        cloud.store.commit = commit  # type: ignore[method-assign]
        assert (await call("GetTask", name=name)).name == name
        await call("DeleteQueue", name=QUEUE)
    cloud.store.close()


@pytest.mark.anyio
async def test_finished_task_that_cannot_be_deleted_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = TasksBench()
    send, name = cloud.target.send, f"{QUEUE}/tasks/t1"

    async def send_until_full(request: DeliveryRequest) -> DeliveryAnswer:
        cloud.store.connection.execute("PRAGMA query_only = ON")
        return await send(request)

    monkeypatch.setattr(cloud.target, "send", send_until_full)
    async with cloud.running() as call:
        await call("CreateTask", parent=QUEUE, task=task(id="t1"))
        await cloud.clock.turn(5)
        assert (await call("GetTask", name=name)).name == name
        cloud.store.connection.execute("PRAGMA query_only = OFF")
        await cloud.clock.turn(2)
        assert not (await call("ListTasks", parent=QUEUE)).tasks
    assert len(cloud.target.requests) == 1
    cloud.store.close()
