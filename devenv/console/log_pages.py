"""The page of Cloud Logging: entries by filter, severity and resource, followed as they arrive."""

import json
import re
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import LOGGING, CloudClient
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell

_SEVERITIES = ("DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_TRACE = re.compile(r"(?:projects/[^/]+/traces/)?([0-9a-f]{32})")
_MOST_TEXT, _MOST_JSON = 300, 20_000  # characters


class LogPages:
    """Routes of log entries."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [Route("/logs", self.entries), Route("/logs/new", self.new_entries)]

    def entries(self, request: Request) -> Response:
        """Return the page; a filter that is not valid is shown with what is wrong in it."""
        token, problem = request.query_params.get("page", ""), ""
        found: dict[str, Any] = {"entries": [], "position": 0, "next": ""}
        try:
            found = self._cloud.control("log", **_filters(request), token=token)
        except ConsoleProblem as error:
            if error.status >= 500 and error.status != 501:
                raise
            problem = error.message
        kinds = self._cloud.api(LOGGING, "/v2/monitoredResourceDescriptors")
        return self._shell.page(
            request,
            "logs.html",
            place="logs",
            status=400 if problem else 200,
            problem=problem,
            entries=[_shown(entry) for entry in found["entries"]],
            position=found["position"],
            is_first=not token,
            next_page=found["next"],
            severities=_SEVERITIES,
            resources=[one["type"] for one in kinds["resourceDescriptors"]],
            wanted=request.query_params,
        )

    def new_entries(self, request: Request) -> Response:
        """Return the entries that were written after a position, to be put before the others.

        While the cloud does not answer there are none, and the page asks again.
        """
        after = request.query_params.get("after") or "0"
        found: dict[str, Any] = {"entries": [], "position": after}
        with suppress(ConsoleProblem):
            found = self._cloud.control("log", **_filters(request), after=after)
        return self._shell.page(
            request,
            "new_logs.html",
            place="logs",
            entries=[_shown(entry) for entry in found["entries"]],
            position=found["position"],
        )


def _filters(request: Request) -> dict[str, str]:
    """Return the filter of the text field, and apart from it that of the other fields.

    So the place of a syntax error is one in the text field.
    """
    query, also = request.query_params, []
    if severity := query.get("severity", ""):
        also.append(f"severity>={json.dumps(severity)}")
    if resource := query.get("resource", ""):
        also.append(f"resource.type={json.dumps(resource)}")
    return {"filter": query.get("filter", "").strip(), "also": " AND ".join(also)}


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of an entry as Google's API prints it."""
    printed = json.dumps(entry, indent=2, ensure_ascii=False)
    trace = _TRACE.fullmatch(entry.get("trace", ""))
    return {
        "at": entry["timestamp"],
        "severity": entry.get("severity", "DEFAULT"),
        "resource": _resource_of(entry),
        "text": " ".join(_text_of(entry).split())[:_MOST_TEXT] or "(empty)",
        "json": printed if len(printed) <= _MOST_JSON else f"{printed[:_MOST_JSON]}\n…",
        "trace": trace[1] if trace else "",
    }


def _text_of(entry: dict[str, Any]) -> str:
    if text := entry.get("textPayload", ""):
        return str(text)
    payload, asked = entry.get("jsonPayload", {}), entry.get("httpRequest", {})
    if isinstance(message := payload.get("message"), str):
        return message
    if not payload and asked:
        names = ("requestMethod", "status", "requestUrl")
        return " ".join(str(asked[name]) for name in names if name in asked)
    return json.dumps(payload, ensure_ascii=False)


def _resource_of(entry: dict[str, Any]) -> str:
    """Return the name of the job or service of an entry, or the type of its resource."""
    resource = entry.get("resource", {})
    labels = resource.get("labels", {})
    names = ("job_name", "service_name", "queue_id", "topic_id", "subscription_id", "bucket_name")
    return str(next((labels[name] for name in names if name in labels), resource.get("type", "")))
