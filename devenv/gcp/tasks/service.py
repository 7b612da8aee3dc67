"""Cloud Tasks v2 as the server wires it: the queues of devenv.toml, and what is not emulated."""

import logging
from collections.abc import Iterator
from typing import Any

from google.iam.v1 import iam_policy_pb2, policy_pb2

from devenv.gcp.caller import ApiCall, Guard, Minter
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig, QueueConfig
from devenv.gcp.delivery import Send
from devenv.gcp.errors import Unimplemented
from devenv.gcp.messages import set_moment
from devenv.gcp.rpc import HttpMount, HttpRule, Rpc
from devenv.gcp.store import DeclaredNames, Store
from devenv.gcp.tasks.dispatcher import Dispatcher
from devenv.gcp.tasks.methods import QueueMethods, TaskMethods, TasksContext
from devenv.gcp.tasks.rules import Queue, TaskNames
from devenv.gcp.tasks.state import TasksStore

log = logging.getLogger(__name__)


class TasksService:
    """Queues, tasks and their delivery through `send`."""

    def __init__(
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        minter: Minter,
        send: Send,
    ) -> None:
        saved = TasksStore(store, clock)
        self._context = TasksContext(
            config=config,
            names=TaskNames(config),
            guard=guard,
            minter=minter,
            clock=clock,
            saved=saved,
            dispatcher=Dispatcher(saved=saved, clock=clock, minter=minter, send=send),
            queues=saved.queues(),
        )
        self._declared_names = DeclaredNames(store.table("tasks_declared"))
        self._queues = QueueMethods(self._context)
        self._tasks = TaskMethods(self._context)

    def rpcs(self) -> tuple[Rpc, ...]:
        return (*self._queues.rpcs(), *self._tasks.rpcs(), *_unimplemented())

    def mounts(self) -> tuple[HttpMount, ...]:
        return ()

    async def start(self) -> None:
        """Open the configured queues (their limits follow the file) and deliver what is due.

        A queue that the file no longer declares is deleted with its tasks.
        """
        config = self._context.config
        parent = f"projects/{config.project}/locations/{config.region}/queues"
        wanted = {f"{parent}/{declared.name}": declared for declared in config.queues}
        for name in self._declared_names.replace(wanted):
            if queue := self._context.queues.get(name):
                log.info("Queue %s is no longer in devenv.toml: deleted", name)
                self._queues.drop(queue)
        for name, declared in wanted.items():
            if queue := self._context.queues.get(name):
                self._queues.change(queue, _limits(declared))
            else:
                self._queues.add(name, _limits(declared))
        self._context.dispatcher.start(self._context.queues.values())

    async def stop(self) -> None:
        await self._context.dispatcher.stop()


def _limits(declared: QueueConfig) -> Any:
    queue = Queue()
    queue.rate_limits.max_dispatches_per_second = declared.max_dispatches_per_second
    queue.rate_limits.max_concurrent_dispatches = declared.max_concurrent_dispatches
    retries = queue.retry_config
    retries.max_attempts = declared.max_attempts
    retries.max_doublings = declared.max_doublings
    set_moment(retries.max_retry_duration, declared.max_retry_duration)
    set_moment(retries.min_backoff, declared.min_backoff)
    set_moment(retries.max_backoff, declared.max_backoff)
    return queue


def _unimplemented() -> Iterator[Rpc]:
    queue = "/v2/{resource=projects/*/locations/*/queues/*}"
    policy = policy_pb2.Policy
    for name, request, response, uri in (
        ("GetIamPolicy", iam_policy_pb2.GetIamPolicyRequest, policy, f"{queue}:getIamPolicy"),
        ("SetIamPolicy", iam_policy_pb2.SetIamPolicyRequest, policy, f"{queue}:setIamPolicy"),
    ):
        method = f"google.cloud.tasks.v2.CloudTasks/{name}"
        yield Rpc(method, request, response, _refuse(name), (HttpRule("POST", uri, "*"),))


def _refuse(name: str) -> Any:
    async def handle(_request: Any, _call: ApiCall) -> Any:
        raise Unimplemented(f"CloudTasks.{name} is not emulated.")

    return handle
