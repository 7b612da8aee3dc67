"""Pages of the journal: the calls to the emulated cloud, one call, and what is not emulated."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import CloudClient
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell
from devenv.gcp.journal import DECISIONS

_PAGE = 100
_FIELDS = ("caller", "method", "resource", "status", "decision", "fault", "trace")


class JournalPages:
    """Routes of the journal."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route("/journal", self.calls),
            Route("/journal/missing", self.missing),
            Route("/journal/{id:int}", self.call),
        ]

    def calls(self, request: Request) -> Response:
        wanted = {name: request.query_params.get(name, "").strip() for name in _FIELDS}
        before = request.query_params.get("before", "")
        query = {name: _pattern(name, text) for name, text in wanted.items() if text}
        found = self._cloud.control("journal", limit=_PAGE, before=before, **query)["calls"]
        return self._shell.page(
            request,
            "journal.html",
            place="journal",
            calls=found,
            wanted=wanted,
            decisions=("", *DECISIONS),
            before=before,
            older=found[-1]["id"] if len(found) == _PAGE else 0,
        )

    def call(self, request: Request) -> Response:
        return self._shell.page(
            request, "call.html", place="journal", call=self.find(request.path_params["id"])
        )

    def missing(self, request: Request) -> Response:
        return self._shell.page(
            request,
            "missing.html",
            place="journal",
            missing=self._cloud.control("missing")["missing"],
        )

    def find(self, number: int) -> dict[str, Any]:
        """Return one call. Raises ConsoleProblem if the journal does not have it any more."""
        calls = self._cloud.control("journal", limit=1, before=number + 1)["calls"]
        if not calls or calls[0]["id"] != number:
            raise ConsoleProblem(f"The journal does not have the call {number}.", status=404)
        found: dict[str, Any] = calls[0]
        return found


def _pattern(name: str, text: str) -> str:
    """Return what the journal looks for: a plain word is any part of a resource or a method."""
    if "*" in text or name in ("decision", "fault", "trace"):
        return text
    if name == "caller":
        return text if "@" in text else f"{text}*"
    return f"*{text}*"
