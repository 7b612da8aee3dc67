"""The methods of google.cloud.tasks.v2.CloudTasks on queues and tasks."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field as default
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard, Minter
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import check_signer
from devenv.gcp.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from devenv.gcp.messages import masked, moment, page, set_moment
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.tasks.dispatcher import Dispatcher
from devenv.gcp.tasks.rules import Queue, Task, TaskNames, complete_queue, complete_task, queue_of
from devenv.gcp.tasks.state import LiveQueue, QueuedEntry, TasksStore

tasks_v2 = client_types("google.cloud.tasks_v2")

NO_QUEUE = (
    "Queue does not exist. If you just created the queue, "
    "wait at least a minute for the queue to initialize."
)
NO_ENTITY = "Requested entity was not found."


@dataclass(slots=True)
class TasksContext:
    """Shared by the methods: the live queues and everything that acts on them."""

    config: CloudConfig
    names: TaskNames
    guard: Guard
    minter: Minter
    clock: Clock
    saved: TasksStore
    dispatcher: Dispatcher
    queues: dict[str, LiveQueue] = default(default_factory=dict)

    def queue(self, name: str, missing: str = NO_QUEUE) -> LiveQueue:
        """Return the queue of this (parsed) name, else raise NotFound with the text `missing`."""
        try:
            return self.queues[name]
        except KeyError:
            raise NotFound(missing) from None

    def task(self, name: str) -> tuple[LiveQueue, QueuedEntry]:
        queue = self.queue(queue_of(name), NO_ENTITY)
        if name not in queue.tasks:
            raise NotFound(NO_ENTITY)
        return queue, queue.tasks[name]

    def allow(self, call: ApiCall, permission: str, resource: str) -> None:
        self.guard.require(call.caller, f"cloudtasks.{permission}", resource)

    def check_signer(self, target: Any, call: ApiCall) -> None:
        """Raise CloudError unless the caller may use the account of a target's token."""
        check_signer(
            target, call.caller, guard=self.guard, minter=self.minter, project=self.config.project
        )


MAX_QUEUES_PAGE = 9800  # documented for ListQueues

_QUEUE = "/v2/{name=projects/*/locations/*/queues/*}"
_OUTPUT_ONLY = ("state", "purge_time")


def _rpc(name: str, response: Any, handle: Callable[..., Any], binding: HttpRule) -> Rpc:
    request = getattr(tasks_v2, f"{name}Request").pb()
    return Rpc(f"google.cloud.tasks.v2.CloudTasks/{name}", request, response, handle, (binding,))


class QueueMethods:
    """The methods on queues."""

    def __init__(self, context: TasksContext) -> None:
        self._context = context

    def rpcs(self) -> Iterator[Rpc]:
        queues = "/v2/{parent=projects/*/locations/*}/queues"
        updated = "/v2/{queue.name=projects/*/locations/*/queues/*}"
        for name, response, handle, binding in (
            ("CreateQueue", Queue, self.create, HttpRule("POST", queues, "queue")),
            ("GetQueue", Queue, self.get, HttpRule("GET", _QUEUE)),
            (
                "ListQueues",
                tasks_v2.ListQueuesResponse.pb(),
                self.list,
                HttpRule("GET", queues),
            ),
            ("UpdateQueue", Queue, self.update, HttpRule("PATCH", updated, "queue")),
            ("DeleteQueue", empty_pb2.Empty, self.delete, HttpRule("DELETE", _QUEUE)),
            ("PauseQueue", Queue, self.pause, HttpRule("POST", f"{_QUEUE}:pause", "*")),
            ("ResumeQueue", Queue, self.resume, HttpRule("POST", f"{_QUEUE}:resume", "*")),
            ("PurgeQueue", Queue, self.purge, HttpRule("POST", f"{_QUEUE}:purge", "*")),
        ):
            yield _rpc(name, response, handle, binding)

    async def create(self, request: Any, call: ApiCall) -> Any:
        context = self._context
        parent = context.names.location(request.parent)
        name = context.names.queue(request.queue.name)
        if not name.startswith(f"{parent}/"):
            raise InvalidArgument("The queue name must be in the location of the request.")
        context.allow(call, "queues.create", f"projects/{context.config.project}")
        context.check_signer(request.queue.http_target, call)
        if name in context.queues:
            raise AlreadyExists("Queue already exists")
        if name in context.saved.gone_queues:
            raise FailedPrecondition(
                "The queue cannot be created because a queue with this name existed too recently."
            )
        return self.add(name, request.queue).state

    def add(self, name: str, wanted: Any) -> LiveQueue:
        """Open the queue `name` with the limits of `wanted`."""
        state = Queue()
        state.CopyFrom(wanted)
        for field in _OUTPUT_ONLY:
            state.ClearField(field)
        state.name, state.state = name, Queue.RUNNING
        complete_queue(state)
        self._context.saved.save_queue(state)
        queue = self._context.queues[name] = LiveQueue(state)
        return queue

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._find(request.name, call, "get").state

    async def list(self, request: Any, call: ApiCall) -> Any:
        context = self._context
        parent = context.names.location(request.parent)
        context.allow(call, "queues.list", f"projects/{context.config.project}")
        if request.filter:
            raise Unimplemented("filter is not emulated.")
        inside = (name for name in context.queues if name.startswith(f"{parent}/"))
        names, token = page(
            inside, size=request.page_size, token=request.page_token, most=MAX_QUEUES_PAGE
        )
        return tasks_v2.ListQueuesResponse.pb()(
            queues=[context.queues[name].state for name in names], next_page_token=token
        )

    async def update(self, request: Any, call: ApiCall) -> Any:
        """Change what the mask names (all if there is none); a missing queue is created."""
        name = self._context.names.queue(request.queue.name)
        self._context.allow(call, "queues.update", name)
        self._context.check_signer(request.queue.http_target, call)
        if name not in self._context.queues:
            return self.add(name, request.queue).state
        queue = self._context.queues[name]
        self.change(queue, masked(queue.state, request.queue, request.update_mask))
        return queue.state

    def change(self, queue: LiveQueue, wanted: Any) -> None:
        """Take over the limits of `wanted`, which may be incomplete."""
        state = Queue()
        state.CopyFrom(wanted)
        for field in ("name", *_OUTPUT_ONLY):
            state.ClearField(field)
        complete_queue(state)
        state.name, state.state = queue.state.name, queue.state.state
        if queue.state.HasField("purge_time"):
            state.purge_time.CopyFrom(queue.state.purge_time)
        self._context.saved.save_queue(state)
        queue.configure(state)
        self._context.dispatcher.pump(queue)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        self.drop(self._find(request.name, call, "delete", NO_ENTITY))
        return empty_pb2.Empty()

    def drop(self, queue: LiveQueue) -> None:
        """Delete a queue with its tasks."""
        self._context.saved.delete_queue(queue)
        del self._context.queues[queue.state.name]
        self._context.dispatcher.forget(queue)
        self._context.guard.forget(queue.state.name)
        _empty(queue)

    async def pause(self, request: Any, call: ApiCall) -> Any:
        queue = self._find(request.name, call, "pause")
        return self._put(queue, state=Queue.PAUSED)

    async def resume(self, request: Any, call: ApiCall) -> Any:
        queue = self._find(request.name, call, "resume")
        state = self._put(queue, state=Queue.RUNNING)
        self._context.dispatcher.pump(queue)
        return state

    async def purge(self, request: Any, call: ApiCall) -> Any:
        queue = self._find(request.name, call, "purge")
        purged = Queue()
        set_moment(purged.purge_time, self._context.clock.now())
        state = self._put(queue, purge_time=purged.purge_time)
        self._context.saved.delete(queue.tasks)
        _empty(queue)
        return state

    def _put(self, queue: LiveQueue, **fields: Any) -> Any:
        """Write the state of a queue with these fields, and have it in memory once it is written."""
        state = Queue()
        state.CopyFrom(queue.state)
        for field in fields:
            state.ClearField(field)
        state.MergeFrom(Queue(**fields))
        self._context.saved.save_queue(state)
        queue.state = state
        return state

    def _find(self, text: str, call: ApiCall, verb: str, missing: str = "") -> LiveQueue:
        name = self._context.names.queue(text)
        self._context.allow(call, f"queues.{verb}", name)
        return self._context.queue(name, missing) if missing else self._context.queue(name)


def _empty(queue: LiveQueue) -> None:
    for entry in tuple(queue.tasks.values()):
        queue.drop(entry)


MAX_TASKS_PAGE = 1000  # documented for ListTasks

_TASKS = "/v2/{parent=projects/*/locations/*/queues/*}/tasks"
_TASK = "/v2/{name=projects/*/locations/*/queues/*/tasks/*}"


class TaskMethods:
    """The methods on tasks."""

    def __init__(self, context: TasksContext) -> None:
        self._context = context

    def rpcs(self) -> Iterator[Rpc]:
        for name, response, handle, binding in (
            ("CreateTask", Task, self.create, HttpRule("POST", _TASKS, "*")),
            ("GetTask", Task, self.get, HttpRule("GET", _TASK)),
            ("ListTasks", tasks_v2.ListTasksResponse.pb(), self.list, HttpRule("GET", _TASKS)),
            ("DeleteTask", empty_pb2.Empty, self.delete, HttpRule("DELETE", _TASK)),
            ("RunTask", Task, self.run, HttpRule("POST", f"{_TASK}:run", "*")),
        ):
            yield _rpc(name, response, handle, binding)

    async def create(self, request: Any, call: ApiCall) -> Any:
        context = self._context
        parent = context.names.queue(request.parent)
        context.allow(call, "tasks.create", parent)
        self._allow_view(request, call, parent)
        queue = context.queue(parent)
        name = self._new_name(parent, request.task.name)
        task = Task()
        task.CopyFrom(request.task)
        if task.HasField("schedule_time"):  # by the machine's clock, which the caller reads
            set_moment(task.schedule_time, context.clock.at(moment(task.schedule_time)))
        complete_task(task, context.clock.now())
        context.check_signer(task.http_request, call)
        if name in queue.tasks or name in context.saved.gone_tasks:
            raise AlreadyExists("Requested entity already exists")
        task.name = name
        answer = view(task, request.response_view)
        context.dispatcher.add(queue, QueuedEntry(task))
        return answer

    async def get(self, request: Any, call: ApiCall) -> Any:
        name = self._named(request, call, "get")
        if name in self._context.saved.gone_tasks:
            raise NotFound(
                "The task no longer exists, though a task with this name existed recently. "
                "The task either successfully completed or was deleted."
            )
        _, entry = self._context.task(name)
        return view(entry.task, request.response_view)

    async def list(self, request: Any, call: ApiCall) -> Any:
        context = self._context
        parent = context.names.queue(request.parent)
        context.allow(call, "tasks.list", parent)
        self._allow_view(request, call, parent)
        tasks = context.queue(parent).tasks
        names, token = page(
            tasks, size=request.page_size, token=request.page_token, most=MAX_TASKS_PAGE
        )
        return tasks_v2.ListTasksResponse.pb()(
            tasks=[view(tasks[name].task, request.response_view) for name in names],
            next_page_token=token,
        )

    async def delete(self, request: Any, call: ApiCall) -> Any:
        name = self._named(request, call, "delete")
        queue, entry = self._context.task(name)
        self._context.saved.delete([name])
        queue.drop(entry)
        return empty_pb2.Empty()

    async def run(self, request: Any, call: ApiCall) -> Any:
        queue, entry = self._context.task(self._named(request, call, "run"))
        self._context.dispatcher.force(queue, entry)
        return view(entry.task, request.response_view)

    def _new_name(self, parent: str, wanted: str) -> str:
        if not wanted:
            return f"{parent}/tasks/{secrets.randbelow(9 * 10**18) + 10**18}"
        name = self._context.names.task(wanted)
        if queue_of(name) != parent:
            raise InvalidArgument(
                f"The queue name from request ('{parent}') must be the same as "
                f"the queue name in the named task ('{queue_of(name)}')."
            )
        return name

    def _named(self, request: Any, call: ApiCall, verb: str) -> str:
        name = self._context.names.task(request.name)
        self._context.allow(call, f"tasks.{verb}", queue_of(name))
        if verb != "delete":
            self._allow_view(request, call, queue_of(name))
        self._context.queue(queue_of(name), NO_ENTITY)
        return name

    def _allow_view(self, request: Any, call: ApiCall, queue: str) -> None:
        if request.response_view == Task.FULL:
            self._context.allow(call, "tasks.fullView", queue)


def view(task: Any, wanted: int) -> Any:
    """Return a copy of the task; only the full view has the body."""
    shown = Task()
    shown.CopyFrom(task)
    shown.view = Task.FULL if wanted == Task.FULL else Task.BASIC
    if shown.view == Task.BASIC:
        shown.http_request.ClearField("body")
    return shown
