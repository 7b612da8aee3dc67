"""A Cloud Tasks of its own: time stands still and the target answers from a script."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from google.cloud import tasks_v2

from devenv.gcp.caller import ApiCall
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig, QueueConfig
from devenv.gcp.store import Store
from devenv.gcp.tasks.service import TasksService
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeMinter, FakeTarget, settle

PARENT = "projects/local-project/locations/us-west1"
QUEUE = f"{PARENT}/queues/runs"


class TasksBench:
    """The service, what it stands on, and calls by the method's name."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.guard = FakeGuard()
        self.minter = FakeMinter()
        self.target = FakeTarget()
        self.store = Store(":memory:")
        self.config = CloudConfig(queues=(QueueConfig(name="runs"),))

    def make(self) -> TasksService:
        return TasksService(
            config=self.config,
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            minter=self.minter,
            send=self.target.send,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
        service = self.make()
        methods = {rpc.method.rpartition("/")[2]: rpc for rpc in service.rpcs()}

        async def call(method: str, request: Any = None, **fields: Any) -> Any:
            rpc = methods[method]
            answer = await rpc.handle(request or rpc.request(**fields), ApiCall())
            await settle()
            return answer

        await service.start()
        await settle()
        try:
            yield call
        finally:
            await service.stop()


def task(url: str = "http://worker/run", **fields: Any) -> Any:
    """Make a task with a small body; `id` names it."""
    name = f"{QUEUE}/tasks/{fields.pop('id')}" if "id" in fields else ""
    request = {"url": url, "body": b"{}", **fields.pop("request", {})}
    return tasks_v2.Task.pb()(name=name, http_request=request, **fields)
