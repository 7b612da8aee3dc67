"""The methods on tasks."""

import secrets
from collections.abc import Iterator
from typing import Any

from google.cloud import tasks_v2
from google.protobuf import empty_pb2

from devenv.gcp.caller import Call
from devenv.gcp.delivery import check_signer
from devenv.gcp.errors import AlreadyExists, InvalidArgument, NotFound
from devenv.gcp.paging import page
from devenv.gcp.rpc import Binding, Rpc
from devenv.gcp.tasks.board import NO_ENTITY, Board
from devenv.gcp.tasks.limits import Task, complete_task
from devenv.gcp.tasks.names import queue_of
from devenv.gcp.tasks.queue import Entry

MAX_PAGE = 1000  # documented for ListTasks

_TASKS = "/v2/{parent=projects/*/locations/*/queues/*}/tasks"
_TASK = "/v2/{name=projects/*/locations/*/queues/*/tasks/*}"


class TaskMethods:
    def __init__(self, board: Board) -> None:
        self._board = board

    def rpcs(self) -> Iterator[Rpc]:
        for name, response, handle, binding in (
            ("CreateTask", Task, self.create, Binding("POST", _TASKS, "*")),
            ("GetTask", Task, self.get, Binding("GET", _TASK)),
            ("ListTasks", tasks_v2.ListTasksResponse.pb(), self.list, Binding("GET", _TASKS)),
            ("DeleteTask", empty_pb2.Empty, self.delete, Binding("DELETE", _TASK)),
            ("RunTask", Task, self.run, Binding("POST", f"{_TASK}:run", "*")),
        ):
            request = getattr(tasks_v2, f"{name}Request").pb()
            method = f"google.cloud.tasks.v2.CloudTasks/{name}"
            yield Rpc(method, request, response, handle, (binding,))

    async def create(self, request: Any, call: Call) -> Any:
        board = self._board
        parent = board.names.queue(request.parent)
        board.allow(call, "tasks.create", parent)
        self._allow_view(request, call, parent)
        queue = board.queue(parent)
        name = self._new_name(parent, request.task.name)
        task = Task()
        task.CopyFrom(request.task)
        complete_task(task, board.clock.now())
        check_signer(
            task.http_request,
            call.caller,
            guard=board.guard,
            minter=board.minter,
            project=board.config.project,
        )
        if name in queue.tasks or name in board.ledger.gone_tasks:
            raise AlreadyExists("Requested entity already exists")
        task.name = name
        entry = Entry(task)
        board.ledger.save(entry)
        queue.put(entry)
        answer = view(task, request.response_view)
        board.dispatcher.pump(queue)
        return answer

    async def get(self, request: Any, call: Call) -> Any:
        name = self._named(request, call, "get")
        if name in self._board.ledger.gone_tasks:
            raise NotFound(
                "The task no longer exists, though a task with this name existed recently. "
                "The task either successfully completed or was deleted."
            )
        _, entry = self._board.task(name)
        return view(entry.task, request.response_view)

    async def list(self, request: Any, call: Call) -> Any:
        board = self._board
        parent = board.names.queue(request.parent)
        board.allow(call, "tasks.list", parent)
        self._allow_view(request, call, parent)
        tasks = board.queue(parent).tasks
        names, token = page(tasks, size=request.page_size, token=request.page_token, most=MAX_PAGE)
        return tasks_v2.ListTasksResponse.pb()(
            tasks=[view(tasks[name].task, request.response_view) for name in names],
            next_page_token=token,
        )

    async def delete(self, request: Any, call: Call) -> Any:
        name = self._named(request, call, "delete")
        queue, entry = self._board.task(name)
        self._board.ledger.delete([name])
        queue.drop(entry)
        return empty_pb2.Empty()

    async def run(self, request: Any, call: Call) -> Any:
        queue, entry = self._board.task(self._named(request, call, "run"))
        self._board.dispatcher.force(queue, entry)
        return view(entry.task, request.response_view)

    def _new_name(self, parent: str, wanted: str) -> str:
        if not wanted:
            return f"{parent}/tasks/{secrets.randbelow(9 * 10**18) + 10**18}"
        name = self._board.names.task(wanted)
        if queue_of(name) != parent:
            raise InvalidArgument(
                f"The queue name from request ('{parent}') must be the same as "
                f"the queue name in the named task ('{queue_of(name)}')."
            )
        return name

    def _named(self, request: Any, call: Call, verb: str) -> str:
        name = self._board.names.task(request.name)
        self._board.allow(call, f"tasks.{verb}", queue_of(name))
        if verb != "delete":
            self._allow_view(request, call, queue_of(name))
        self._board.queue(queue_of(name), NO_ENTITY)
        return name

    def _allow_view(self, request: Any, call: Call, queue: str) -> None:
        if request.response_view == Task.FULL:
            self._board.allow(call, "tasks.fullView", queue)


def view(task: Any, wanted: int) -> Any:
    """Return a copy of the task; only the full view has the body."""
    shown = Task()
    shown.CopyFrom(task)
    shown.view = Task.FULL if wanted == Task.FULL else Task.BASIC
    if shown.view == Task.BASIC:
        shown.http_request.ClearField("body")
    return shown
