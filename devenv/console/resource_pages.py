"""Pages of resources that programs, gcloud or Terraform made: a list of each kind, and one record."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console import cloud_resources, project_resources
from devenv.console.cloud import CloudClient
from devenv.console.problems import ConsoleProblem
from devenv.console.resources import ResourceColumn, ResourceKind, ResourcePage, cell, value_at
from devenv.console.shell import Shell

_MONITORING = "monitoring.googleapis.com"
PAGES = (*cloud_resources.PAGES, *project_resources.PAGES)
_HOUR = 3600
_MOST_SERIES, _MOST_PAGES, _MOST_JSON = 20, 50, 50_000


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """A record in a table: its full name, the text that it is known by, and its columns."""

    key: str
    label: str
    cells: tuple[tuple[ResourceColumn, str], ...]
    record: Mapping[str, Any]


class ResourcePages:
    """Routes of all kinds of resources that have no page of their own."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [route for page in PAGES for route in self._routes(page)]

    def _routes(self, page: ResourcePage) -> Iterator[Route]:
        def show_all(request: Request) -> Response:
            return self._list(request, page)

        def show_one(request: Request) -> Response:
            return self._one(request, page)

        yield Route(page.path, show_all)
        yield Route(f"{page.path}/{{kind}}", show_one)

    def _list(self, request: Request, page: ResourcePage) -> Response:
        token, of = request.query_params.get("page", ""), request.query_params.get("of", "")
        names, tables = self._names(), []
        for kind in page.kinds:
            rows, further = self._rows(kind, names, token=token if kind.name == of else "")
            tables.append((kind, rows, further))
        return self._shell.page(
            request,
            "resources.html",
            place=page.place,
            page=page,
            tables=tables,
            is_first=not token,
        )

    def _one(self, request: Request, page: ResourcePage) -> Response:
        kind = next((one for one in page.kinds if one.name == request.path_params["kind"]), None)
        name, names = request.query_params.get("name", ""), self._names()
        row = self._find(kind, name, names) if kind else None
        if kind is None or row is None:
            raise ConsoleProblem(f"{page.title} has no {name[:100]!r}.", status=404)
        names |= {"name": row.key, "short": row.key.rpartition("/")[2]}
        printed = json.dumps(row.record, indent=2, ensure_ascii=False)
        return self._shell.page(
            request,
            "resource.html",
            place=page.place,
            page=page,
            kind=kind,
            row=row,
            short=names["short"],
            parts=[(part, self._rows(part, names)[0]) for part in kind.parts],
            series=self._series(row.record) if kind.has_series else [],
            printed=printed if len(printed) <= _MOST_JSON else f"{printed[:_MOST_JSON]}\n…",
        )

    def _find(self, kind: ResourceKind, name: str, names: Mapping[str, str]) -> ResourceRow | None:
        token = ""
        for _ in range(_MOST_PAGES):
            rows, token = self._rows(kind, names, token=token)
            if found := next((row for row in rows if row.key == name), None):
                return found
            if not token:
                break
        return None

    def _rows(
        self, kind: ResourceKind, names: Mapping[str, str], *, token: str = ""
    ) -> tuple[list[ResourceRow], str]:
        """Return the records of one page of a list, and the token of the next one."""
        path = kind.path.format_map(names)
        query = {name: text.format_map(names) for name, text in kind.query.items()}
        if kind.host:
            answer = self._cloud.api(kind.host, path, **query, pageToken=token)
        else:
            answer = self._cloud.control(path)
        rows = [_row(kind, record) for record in answer.get(kind.items) or []]
        return rows, str(answer.get("nextPageToken", ""))

    def _series(self, descriptor: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the points of a metric in the last hour, for each combination of its labels."""
        now = self._cloud.now()
        query: dict[str, Any] = {
            "filter": f"metric.type = {json.dumps(descriptor['type'])}",
            "interval.startTime": _moment(now - _HOUR),
            "interval.endTime": _moment(now),
            "pageSize": _MOST_SERIES,
        }
        path = f"/v3/{self._names()['project']}/timeSeries"
        answer = self._cloud.api(_MONITORING, path, **query)
        return [_line(series) for series in answer.get("timeSeries", [])]

    def _names(self) -> dict[str, str]:
        """Return what paths of lists may name."""
        project = self._cloud.control("project")
        full = f"projects/{project['project']}"
        return {
            "project": full,
            "id": project["project"],
            "number": project["number"],
            # Compute Engine calls the place of a regional resource otherwise.
            "region": f"{full}/regions/{project['region']}",
            "location": f"{full}/locations/{project['region']}",
        }


def _row(kind: ResourceKind, record: Mapping[str, Any]) -> ResourceRow:
    key = str(value_at(record, kind.key) or "")
    label = str(value_at(record, kind.label) or "") if kind.label else ""
    cells = tuple((column, cell(record, column)) for column in kind.columns)
    return ResourceRow(key, label or key.rpartition("/")[2], cells, record)


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", "Z")


def _line(series: Mapping[str, Any]) -> dict[str, Any]:
    """Return a series for the page: its labels, and its values with the oldest first."""
    labels = {**series["resource"].get("labels", {}), **series["metric"].get("labels", {})}
    values = [_number(point["value"]) for point in reversed(series.get("points", []))]
    return {
        "labels": ", ".join(f"{name}={text}" for name, text in labels.items()),
        "resource": series["resource"]["type"],
        "values": values,
    }


def _number(value: Mapping[str, Any]) -> float:
    """Return the number of a point; the mean of a distribution."""
    if "distributionValue" in value:
        return float(value["distributionValue"].get("mean", 0))
    return float(next((value[name] for name in ("doubleValue", "int64Value") if name in value), 0))
