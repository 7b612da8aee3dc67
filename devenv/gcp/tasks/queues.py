"""The methods on queues."""

from collections.abc import Iterator
from typing import Any

from google.cloud import tasks_v2
from google.protobuf import empty_pb2

from devenv.gcp.caller import Call
from devenv.gcp.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from devenv.gcp.messages import masked, set_moment
from devenv.gcp.paging import page
from devenv.gcp.rpc import Binding, Rpc
from devenv.gcp.tasks.board import NO_ENTITY, Board
from devenv.gcp.tasks.limits import Queue, complete_queue
from devenv.gcp.tasks.queue import LiveQueue

MAX_PAGE = 9800  # documented for ListQueues

_QUEUE = "/v2/{name=projects/*/locations/*/queues/*}"
_OUTPUT_ONLY = ("state", "purge_time")


class QueueMethods:
    def __init__(self, board: Board) -> None:
        self._board = board

    def rpcs(self) -> Iterator[Rpc]:
        queues = "/v2/{parent=projects/*/locations/*}/queues"
        updated = "/v2/{queue.name=projects/*/locations/*/queues/*}"
        for name, response, handle, binding in (
            ("CreateQueue", Queue, self.create, Binding("POST", queues, "queue")),
            ("GetQueue", Queue, self.get, Binding("GET", _QUEUE)),
            (
                "ListQueues",
                tasks_v2.ListQueuesResponse.pb(),
                self.list,
                Binding("GET", queues),
            ),
            ("UpdateQueue", Queue, self.update, Binding("PATCH", updated, "queue")),
            ("DeleteQueue", empty_pb2.Empty, self.delete, Binding("DELETE", _QUEUE)),
            ("PauseQueue", Queue, self.pause, Binding("POST", f"{_QUEUE}:pause", "*")),
            ("ResumeQueue", Queue, self.resume, Binding("POST", f"{_QUEUE}:resume", "*")),
            ("PurgeQueue", Queue, self.purge, Binding("POST", f"{_QUEUE}:purge", "*")),
        ):
            request = getattr(tasks_v2, f"{name}Request").pb()
            method = f"google.cloud.tasks.v2.CloudTasks/{name}"
            yield Rpc(method, request, response, handle, (binding,))

    async def create(self, request: Any, call: Call) -> Any:
        board = self._board
        parent = board.names.location(request.parent)
        name = board.names.queue(request.queue.name)
        if not name.startswith(f"{parent}/"):
            raise InvalidArgument("The queue name must be in the location of the request.")
        board.allow(call, "queues.create", f"projects/{board.config.project}")
        if name in board.queues:
            raise AlreadyExists("Queue already exists")
        if name in board.ledger.gone_queues:
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
        queue = self._board.queues[name] = LiveQueue(state)
        self._board.ledger.save_queue(queue)
        return queue

    async def get(self, request: Any, call: Call) -> Any:
        return self._find(request.name, call, "get").state

    async def list(self, request: Any, call: Call) -> Any:
        board = self._board
        parent = board.names.location(request.parent)
        board.allow(call, "queues.list", f"projects/{board.config.project}")
        if request.filter:
            raise InvalidArgument("Filters are not supported by the emulated ListQueues.")
        inside = (name for name in board.queues if name.startswith(f"{parent}/"))
        names, token = page(inside, size=request.page_size, token=request.page_token, most=MAX_PAGE)
        return tasks_v2.ListQueuesResponse.pb()(
            queues=[board.queues[name].state for name in names], next_page_token=token
        )

    async def update(self, request: Any, call: Call) -> Any:
        """Change what the mask names (all if there is none); a missing queue is created."""
        name = self._board.names.queue(request.queue.name)
        self._board.allow(call, "queues.update", name)
        if name not in self._board.queues:
            return self.add(name, request.queue).state
        queue = self._board.queues[name]
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
        queue.configure(state)
        self._board.ledger.save_queue(queue)
        self._board.dispatcher.pump(queue)

    async def delete(self, request: Any, call: Call) -> Any:
        queue = self._find(request.name, call, "delete", NO_ENTITY)
        self._board.ledger.delete_queue(queue)
        del self._board.queues[queue.state.name]
        self._board.dispatcher.forget(queue)
        _empty(queue)
        return empty_pb2.Empty()

    async def pause(self, request: Any, call: Call) -> Any:
        queue = self._find(request.name, call, "pause")
        queue.state.state = Queue.PAUSED
        self._board.ledger.save_queue(queue)
        return queue.state

    async def resume(self, request: Any, call: Call) -> Any:
        queue = self._find(request.name, call, "resume")
        queue.state.state = Queue.RUNNING
        self._board.ledger.save_queue(queue)
        self._board.dispatcher.pump(queue)
        return queue.state

    async def purge(self, request: Any, call: Call) -> Any:
        queue = self._find(request.name, call, "purge")
        set_moment(queue.state.purge_time, self._board.clock.now())
        self._board.ledger.delete(queue.tasks)
        self._board.ledger.save_queue(queue)
        _empty(queue)
        return queue.state

    def _find(self, text: str, call: Call, verb: str, missing: str = "") -> LiveQueue:
        name = self._board.names.queue(text)
        self._board.allow(call, f"queues.{verb}", name)
        return self._board.queue(name, missing) if missing else self._board.queue(name)


def _empty(queue: LiveQueue) -> None:
    for entry in tuple(queue.tasks.values()):
        queue.drop(entry)
