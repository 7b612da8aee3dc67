"""Cloud Tasks v2 as the server wires it, with the queues of devenv.toml."""

import logging
from collections.abc import Mapping
from typing import Any

from devenv.gcp.caller import Guard, Minter
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig, QueueConfig
from devenv.gcp.delivery import Send
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.messages import set_moment
from devenv.gcp.rpc import Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import DeclaredNames, Store
from devenv.gcp.tasks.dispatcher import Dispatcher
from devenv.gcp.tasks.methods import QueueMethods, TaskMethods, TasksContext
from devenv.gcp.tasks.rules import Queue, TaskNames
from devenv.gcp.tasks.state import QueueHistory, TasksStore

log = logging.getLogger(__name__)


class TasksService(CloudService):
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
        return (*self._queues.rpcs(), *self._tasks.rpcs())

    def overview(self, _query: Mapping[str, str]) -> dict[str, Any]:
        """Return the queues with their depth and its history, for the control API."""
        queues = []
        for name, queue in sorted(self._context.queues.items()):
            depths, deliveries = self._context.dispatcher.history(queue).read(len(queue.tasks))
            queues.append(
                {
                    "name": name,
                    "running": queue.running,
                    "depth": len(queue.tasks),
                    "in_flight": queue.in_flight,
                    "depths": depths,
                    "deliveries": deliveries,
                }
            )
        return {"queues": queues, "step": QueueHistory.STEP}

    def take_back(self, seconds: float) -> None:
        """Let tasks leave, and names be free, so much earlier: the clock has lost these seconds."""
        self._context.saved.take_back(seconds)
        for queue in self._context.queues.values():
            self._context.dispatcher.take_back(queue, seconds)

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        def find(resource: str) -> str:
            name = self._context.names.queue(resource)
            self._context.queue(name)
            return name

        path = "/v2/{resource=projects/*/locations/*/queues/*}"
        service = "google.cloud.tasks.v2.CloudTasks"
        return (PolicyKind(service, (path,), "cloudtasks.queues", find),)

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
