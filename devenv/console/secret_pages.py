"""Pages of secrets and schedules: the small resources of the emulated cloud."""

import base64
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from devenv.console.cloud import SCHEDULER, SECRETS, CloudClient
from devenv.console.gate import HEADERS
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell

_PAGE = 250
_SCHEDULE_COMMANDS = {"run": "runs now", "pause": "paused", "resume": "resumed"}


class SecretPages:
    """Routes of Secret Manager. A value leaves it only for a click, which the journal records."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        show = self._shell.action(self.show)
        return [
            Route("/secrets", self.secrets),
            Route("/secrets/{secret}", self.secret),
            Route("/secrets/{secret}/versions/{version}/show", show, methods=["POST"]),
            Route("/secrets/{secret}/versions/{version}/show", self.hide),
        ]

    def secrets(self, request: Request) -> Response:
        project, token = self._project(), request.query_params.get("page", "")
        answer = self._cloud.api(SECRETS, f"/v1/{project}/secrets", pageSize=_PAGE, pageToken=token)
        return self._shell.page(
            request,
            "secrets.html",
            place="secrets",
            secrets=answer.get("secrets", []),
            is_first=not token,
            next_page=answer.get("nextPageToken", ""),
        )

    def secret(self, request: Request) -> Response:
        return self._page(request)

    def hide(self, request: Request) -> Response:
        """Lead a page with a value that is opened again back to the one without."""
        name = quote(request.path_params["secret"], safe="")
        return RedirectResponse(f"/secrets/{name}", 303, headers=HEADERS)

    def show(self, request: Request, _form: FormData) -> Response:
        """Return the page of a secret with the value of one version."""
        version = request.path_params["version"]
        name = f"{self._project()}/secrets/{request.path_params['secret']}/versions/{version}"
        payload = self._cloud.api(SECRETS, f"/v1/{name}:access")["payload"]
        value = base64.b64decode(payload.get("data", ""))
        return self._page(request, shown=version, value=value.decode("utf-8", "backslashreplace"))

    def _page(self, request: Request, *, shown: str = "", value: str = "") -> Response:
        name = f"{self._project()}/secrets/{request.path_params['secret']}"
        answer = self._cloud.api(SECRETS, f"/v1/{name}/versions", pageSize=_PAGE)
        return self._shell.page(
            request,
            "secret.html",
            place="secrets",
            secret=self._cloud.api(SECRETS, f"/v1/{name}"),
            versions=answer.get("versions", []),
            shown=shown,
            value=value,
        )

    def _project(self) -> str:
        return f"projects/{self._cloud.control('project')['project']}"


class SchedulePages:
    """Routes of Cloud Scheduler."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route("/schedules", self.schedules),
            Route("/schedules/{job}/{command}", self._shell.action(self.command), methods=["POST"]),
        ]

    def schedules(self, request: Request) -> Response:
        answer = self._cloud.api(SCHEDULER, f"/v1/{self._cloud.location()}/jobs", pageSize=_PAGE)
        return self._shell.page(
            request, "schedules.html", place="schedules", jobs=answer.get("jobs", [])
        )

    def command(self, request: Request, _form: FormData) -> str:
        job, command = request.path_params["job"], request.path_params["command"]
        if command not in _SCHEDULE_COMMANDS:
            known = ", ".join(_SCHEDULE_COMMANDS)
            raise ConsoleProblem(f"{command[:20]!r} is not one of {known}.", status=404)
        path = f"/v1/{self._cloud.location()}/jobs/{job}:{command}"
        self._cloud.api(SCHEDULER, path, verb="POST", body={})
        return f"{job} {_SCHEDULE_COMMANDS[command]}."
