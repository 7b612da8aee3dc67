"""Pages of Cloud Run jobs: jobs, their executions, and one execution with its live log."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from devenv.console.cloud import RUN, CloudClient
from devenv.console.gate import HEADERS
from devenv.console.shell import Shell
from devenv.console.stack_pages import LogView, ShownLine, events
from devenv.stack.logfile import Follower, LogLevel

_PAGE = 100
_LINES = 1000
_NAME = re.compile(r"[a-z][a-z0-9-]{0,100}")
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL|DSN|AUTHORIZATION|COOKIE", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")


class JobPages:
    """Routes of jobs and executions."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        act, post = self._shell.action, ["POST"]
        one = "/jobs/{job}/executions/{execution}"
        return [
            Route("/jobs", self.jobs),
            Route("/jobs/{job}", self.job),
            Route("/jobs/{job}/run", act(self.run), methods=post),
            Route(one, self.execution),
            Route(f"{one}/state", self.execution),
            Route(f"{one}/stream", self.stream),
            Route(f"{one}/cancel", act(self.cancel), methods=post),
            Route(f"{one}/rerun", act(self.rerun), methods=post),
        ]

    def jobs(self, request: Request) -> Response:
        answer = self._cloud.api(RUN, f"/v2/{self._cloud.location()}/jobs", pageSize=_PAGE)
        return self._shell.page(request, "jobs.html", place="jobs", jobs=answer.get("jobs", []))

    def job(self, request: Request) -> Response:
        name, token = self._job(request), request.query_params.get("page", "")
        answer = self._cloud.api(RUN, f"/v2/{name}/executions", pageSize=_PAGE, pageToken=token)
        return self._shell.page(
            request,
            "job.html",
            place="jobs",
            job=self._cloud.api(RUN, f"/v2/{name}"),
            executions=answer.get("executions", []),
            is_first=not token,
            next_page=answer.get("nextPageToken", ""),
        )

    def execution(self, request: Request) -> Response:
        name = self._execution(request)
        execution = self._cloud.api(RUN, f"/v2/{name}")
        tasks = self._cloud.api(RUN, f"/v2/{name}/tasks", pageSize=_PAGE).get("tasks", [])
        is_state = request.url.path.endswith("/state")  # asked for often: without the log
        logs = [] if is_state else self._logs(request)
        lines = [line for path in logs for line in _read(path)]
        return self._shell.page(
            request,
            "execution.html",
            place="jobs",
            execution=execution,
            environment=_environment(execution),
            tasks=tasks,
            lines=lines[-_LINES:],
            is_running="completionTime" not in execution,
        )

    async def stream(self, request: Request) -> Response:
        """Send what the tasks have written and write, as server-sent events."""
        followers: dict[Path, Follower] = {}
        view = LogView(LogLevel.DEBUG, None)

        def more() -> Iterator[ShownLine]:
            for path in self._logs(request):
                follower = followers.setdefault(path, Follower(path, at=0))
                yield from view.lines(follower.new_lines())

        return StreamingResponse(
            events(request, more), media_type="text/event-stream", headers=HEADERS
        )

    def run(self, request: Request, _form: FormData) -> Response:
        return self._start(request, {}, f"{request.path_params['job']} started.")

    def cancel(self, request: Request, _form: FormData) -> str:
        self._cloud.api(RUN, f"/v2/{self._execution(request)}:cancel", verb="POST", body={})
        return f"{request.path_params['execution']} is being cancelled."

    def rerun(self, request: Request, _form: FormData) -> Response:
        """Start the job again with the arguments and variables of an execution."""
        execution = self._cloud.api(RUN, f"/v2/{self._execution(request)}")
        template = execution["template"]
        container = template["containers"][0]
        overrides = {
            "containerOverrides": [
                {
                    "args": container.get("args", []),
                    "clearArgs": not container.get("args"),
                    "env": [one for one in container.get("env", []) if "value" in one],
                }
            ],
            "taskCount": execution.get("taskCount", 1),
            "timeout": template["timeout"],
        }
        before = execution["name"].rpartition("/")[2]
        notice = f"{request.path_params['job']} started with what {before} had."
        return self._start(request, {"overrides": overrides}, notice)

    def _start(self, request: Request, body: dict[str, Any], notice: str) -> Response:
        """Start an execution, and go to its page."""
        started = self._cloud.api(RUN, f"/v2/{self._job(request)}:run", verb="POST", body=body)
        execution = started["metadata"]["name"].rpartition("/")[2]
        path = f"/jobs/{request.path_params['job']}/executions/{execution}"
        return self._shell.redirect(path, notice)

    def _job(self, request: Request) -> str:
        return f"{self._cloud.location()}/jobs/{request.path_params['job']}"

    def _execution(self, request: Request) -> str:
        return f"{self._job(request)}/executions/{request.path_params['execution']}"

    def _logs(self, request: Request) -> list[Path]:
        """Return the logs of an execution's tasks, each attempt apart."""
        name = request.path_params["execution"]
        folder = self._cloud.logs / name
        return sorted(folder.glob("task*.log")) if _NAME.fullmatch(name) else []


def _read(path: Path) -> Iterator[ShownLine]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from LogView(LogLevel.DEBUG, None).lines(line.rstrip("\n") for line in file)


def _environment(execution: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the variables of an execution; values that may be secrets are hidden."""
    found = execution["template"]["containers"][0].get("env", [])
    return [
        (one["name"], "(hidden)" if may_be_secret(one["name"], value) else value)
        for one in found
        for value in [one.get("value", "(secret)")]
    ]


def may_be_secret(name: str, value: str) -> bool:
    """Return whether a variable or a header has a name of secrets, or a URL with a password."""
    return bool(_SECRET.search(name) or _PASSWORD_IN_URL.search(value))
