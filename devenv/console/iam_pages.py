"""Pages of rights: why a call was refused, and which permissions an account used."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import IAM, CloudClient
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell

_ROLES = 300


class IamPages:
    """Routes of IAM."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [Route("/iam", self.overview), Route("/iam/{caller}", self.account)]

    def overview(self, request: Request) -> Response:
        found, project = self._cloud.control("permissions"), self._cloud.control("project")
        path = f"/v1/projects/{project['project']}/roles"
        answer = self._cloud.api(IAM, path, view="FULL", showDeleted="true", pageSize=_ROLES)
        return self._shell.page(
            request,
            "iam.html",
            place="iam",
            accounts=found["accounts"],
            refused=found["refused"],
            iam=project["iam"],
            roles=answer.get("roles", []),
        )

    def account(self, request: Request) -> Response:
        caller, found = request.path_params["caller"], self._cloud.control("permissions")
        account: dict[str, Any] | None = next(
            (one for one in found["accounts"] if one["caller"] == caller), None
        )
        if account is None:
            raise ConsoleProblem(f"There is no account {caller[:100]!r}.", status=404)
        return self._shell.page(
            request,
            "account.html",
            place="iam",
            account=account,
            refused=[one for one in found["refused"] if one["caller"] == caller],
            roles={one["role"] for one in account["bound"]},
        )
