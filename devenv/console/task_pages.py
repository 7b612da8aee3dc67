"""Pages of Cloud Tasks: queues, their tasks, and one task."""

from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import TASKS, CloudClient
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell, readable_body

_PAGE = 100
_QUEUE_COMMANDS = {"pause": "paused", "resume": "resumed", "purge": "emptied"}


class TaskPages:
    """Routes of queues and tasks."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        act, post = self._shell.action, ["POST"]
        return [
            Route("/tasks", self.queues),
            Route("/tasks/{queue}", self.queue),
            Route("/tasks/{queue}/{command:str}", act(self.change_queue), methods=post),
            Route("/tasks/{queue}/tasks/{task}", self.task),
            Route("/tasks/{queue}/tasks/{task}/run", act(self.run), methods=post),
            Route("/tasks/{queue}/tasks/{task}/delete", act(self.delete), methods=post),
        ]

    def queues(self, request: Request) -> Response:
        found = self._cloud.control("queues")
        return self._shell.page(
            request, "queues.html", place="tasks", queues=found["queues"], step=found["step"]
        )

    def queue(self, request: Request) -> Response:
        queue = self._queue(request)
        limits = self._cloud.api(TASKS, f"/v2/{queue['name']}")
        token = request.query_params.get("page", "")
        answer = self._cloud.api(
            TASKS, f"/v2/{queue['name']}/tasks", pageSize=_PAGE, pageToken=token
        )
        return self._shell.page(
            request,
            "queue.html",
            place="tasks",
            queue=queue,
            limits=limits,
            tasks=answer.get("tasks", []),
            is_first=not token,
            next_page=answer.get("nextPageToken", ""),
        )

    def task(self, request: Request) -> Response:
        queue = self._queue(request)
        name = f"{queue['name']}/tasks/{request.path_params['task']}"
        task = self._cloud.api(TASKS, f"/v2/{name}", responseView="FULL")
        return self._shell.page(
            request,
            "task.html",
            place="tasks",
            queue=queue,
            task=task,
            body=readable_body(task.get("httpRequest", {}).get("body", "")),
        )

    def change_queue(self, request: Request, _form: FormData) -> str:
        queue, command = self._queue(request), request.path_params["command"]
        if command not in _QUEUE_COMMANDS:
            known = ", ".join(_QUEUE_COMMANDS)
            raise ConsoleProblem(f"{command[:20]!r} is not one of {known}.", status=404)
        self._cloud.api(TASKS, f"/v2/{queue['name']}:{command}", verb="POST", body={})
        return f"{request.path_params['queue']} {_QUEUE_COMMANDS[command]}."

    def run(self, request: Request, _form: FormData) -> str:
        task = request.path_params["task"]
        name = f"{self._queue(request)['name']}/tasks/{task}"
        self._cloud.api(TASKS, f"/v2/{name}:run", verb="POST", body={})
        return f"Task {task} is sent now."

    def delete(self, request: Request, _form: FormData) -> str:
        task = request.path_params["task"]
        name = f"{self._queue(request)['name']}/tasks/{task}"
        self._cloud.api(TASKS, f"/v2/{name}", verb="DELETE")
        return f"Task {task} deleted."

    def _queue(self, request: Request) -> dict[str, Any]:
        """Return the queue of a path. Raises ConsoleProblem."""
        short = request.path_params["queue"]
        for queue in self._cloud.control("queues")["queues"]:
            if queue["name"].endswith(f"/queues/{short}"):
                found: dict[str, Any] = queue
                return found
        raise ConsoleProblem(f"There is no queue {short[:100]!r}.", status=404)
