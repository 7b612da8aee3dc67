"""Pages of Cloud Run services: those of devenv.toml and those that were deployed by API."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import RUN, CloudClient
from devenv.console.shell import Shell

_PAGE = 100


class RunPages:
    """Routes of Cloud Run services and their revisions."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [Route("/run", self.services), Route("/run/{service}", self.service)]

    def services(self, request: Request) -> Response:
        token = request.query_params.get("page", "")
        path = f"/v2/{self._cloud.location()}/services"
        answer = self._cloud.api(RUN, path, pageSize=_PAGE, pageToken=token)
        return self._shell.page(
            request,
            "run_services.html",
            place="run",
            services=answer.get("services", []),
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
            is_first=not token,
            next_page=answer.get("nextPageToken", ""),
        )


def _traffic(service: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the percentage of each revision by its short name; a share without one is the latest's."""
    latest = service.get("latestReadyRevision", "").rpartition("/")[2]
    found: dict[str, int] = defaultdict(int)
    for share in service.get("trafficStatuses", []):
        found[share.get("revision") or latest] += share.get("percent", 0)
    return found
