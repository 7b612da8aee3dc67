"""Pages of Cloud Run services: those of devenv.toml and those that were deployed by API."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import RUN, CloudClient
from devenv.console.local import StackView
from devenv.console.shell import Shell

_PAGE = 100
_DECLARED = "devenv.toml/"  # begins the image of a service that the stack itself runs


class RunPages:
    """Routes of Cloud Run services, their revisions and instances; `stack` is None without one."""

    def __init__(self, shell: Shell, cloud: CloudClient, stack: StackView | None) -> None:
        self._shell = shell
        self._cloud = cloud
        self._stack = stack

    def routes(self) -> list[Route]:
        stop = self._shell.action(self.stop)
        return [
            Route("/run", self.services),
            Route("/run/{service}", self.service),
            Route("/run/{service}/instances/{instance}/stop", stop, methods=["POST"]),
        ]

    def services(self, request: Request) -> Response:
        token = request.query_params.get("page", "")
        path = f"/v2/{self._cloud.location()}/services"
        answer = self._cloud.api(RUN, path, pageSize=_PAGE, pageToken=token)
        return self._shell.page(
            request,
            "run_services.html",
            place="run",
            services=answer.get("services", []),
            instances=Counter(
                one["service"] for one in self._cloud.control("instances")["instances"]
            ),
            is_declared=_is_declared,
            is_first=not token,
            next_page=answer.get("nextPageToken", ""),
        )

    def service(self, request: Request) -> Response:
        path = f"/v2/{self._cloud.location()}/services/{request.path_params['service']}"
        token = request.query_params.get("page", "")
        service = self._cloud.api(RUN, path)
        answer = self._cloud.api(RUN, f"{path}/revisions", pageSize=_PAGE, pageToken=token)
        policy = self._cloud.api(RUN, f"{path}:getIamPolicy")
        invokers = [
            member.partition(":")[2] or member
            for binding in policy.get("bindings", [])
            if binding["role"] == "roles/run.invoker"
            for member in binding.get("members", [])
        ]
        return self._shell.page(
            request,
            "run_service.html",
            place="run",
            service=service,
            revisions=answer.get("revisions", []),
            invokers=invokers,
            traffic=_traffic(service),
            **self._instances(service),
            is_first=not token,
            next_page=answer.get("nextPageToken", ""),
        )

    def stop(self, request: Request, _form: FormData) -> str:
        name = request.path_params["instance"]
        self._cloud.control(f"instances/{quote(name, safe='')}", verb="DELETE")
        return f"{name} is being stopped. The next request starts another one if none is left."

    def _instances(self, service: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what runs for a service: its instances, or the process that devenv.toml declares."""
        found, name = self._cloud.control("instances"), service["name"].rpartition("/")[2]
        if not _is_declared(service):
            return {
                "instances": [one for one in found["instances"] if one["service"] == name],
                "ended": [one for one in found["ended"] if one["service"] == name],
                "starting": found["starting"].get(name, 0),
            }
        declared = service["template"]["containers"][0]["image"].removeprefix(_DECLARED)
        process = found["declared"].get(declared, {})
        rows = self._stack.services() if self._stack else []
        own = next((row for row in rows if row.port and row.port == process.get("port")), None)
        return {"process": process, "stack_service": own}


def _is_declared(service: Mapping[str, Any]) -> bool:
    """Return whether a process of the stack serves a service, and no instance."""
    return bool(service["template"]["containers"][0].get("image", "").startswith(_DECLARED))


def _traffic(service: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the percentage of each revision by its short name; a share without one is the latest's."""
    latest = service.get("latestReadyRevision", "").rpartition("/")[2]
    found: dict[str, int] = defaultdict(int)
    for share in service.get("trafficStatuses", []):
        found[share.get("revision") or latest] += share.get("percent", 0)
    return found
