"""Previews of artifacts: charts, tables, JSON, text, and HTML in a frame that can do nothing.

A preview reads at most `MAX_BYTES` of a file and says when there is more.
"""

import csv
import io
import json
import re
from contextlib import suppress
from itertools import islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.csp import CSP
from django.utils.translation import gettext as _
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.core.storage import ObjectNotFound
from validibot.runs.access import visible_runs
from validibot.runs.artifact_head import FileHead, read_head
from validibot.runs.models import Artifact
from validibot.runs.series import SERIES, charts_of
from validibot.web.scope import member, page

MAX_BYTES = 8 * 1024 * 1024
MAX_LINES, MAX_LINE = 500, 2000
MAX_ROWS, MAX_CELLS, MAX_CELL = 200, 40, 200
# A number with a fraction and more digits than a table shows.
_LONG = re.compile(r"-?[0-9]+\.[0-9]{6,40}(?:[eE][-+]?[0-9]{1,3})?")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
_TABLES = {"text/csv": ",", "text/tab-separated-values": "\t"}
_TEXTS = ("text/", "application/json", "application/xml", "image/svg+xml")
# A page that a validator wrote has an origin of its own, without scripts and other files.
_FRAME_POLICY = {
    "sandbox": "",
    "default-src": [CSP.NONE],
    "style-src": [CSP.UNSAFE_INLINE],
    "img-src": ["data:"],
    "frame-ancestors": [CSP.SELF],
}


def has_preview(artifact: Artifact) -> bool:
    """Return whether the type of an artifact can be shown."""
    return _mime_type(artifact).startswith(_TEXTS)


def _mime_type(artifact: Artifact) -> str:
    """Return the type of the file, of what is in it where it is compressed."""
    path = PurePath(artifact.name)
    if path.suffix == ".gz":
        return "application/json" if path.stem.endswith(".json") else "text/plain"
    return artifact.mime_type.partition(";")[0].strip().lower()


def _head(artifact: Artifact) -> FileHead:
    """Return the beginning of an artifact. Raises Http404 when it is gone."""
    try:
        return read_head(artifact, MAX_BYTES)
    except ObjectNotFound as error:
        raise Http404 from error


@member
@require_GET
def preview(request: HttpRequest, scope: Scope, pk: UUID, artifact_pk: int) -> HttpResponse:
    """Show an artifact: charts of a time series, a table, text, or a frame with a page."""
    runs = visible_runs(scope).select_related("submission").defer("submission__inline")
    run = get_object_or_404(runs, pk=pk)
    artifact = get_object_or_404(run.artifacts.select_related("step_run"), pk=artifact_pk)
    context: dict[str, Any] = {"run": run, "artifact": artifact}
    kind = _mime_type(artifact)
    if kind == "text/html":
        context |= {"is_page": True, "is_cut": artifact.size_bytes > MAX_BYTES, "limit": MAX_BYTES}
    elif has_preview(artifact):
        head = _head(artifact)
        context |= {"is_cut": not head.is_whole, "limit": MAX_BYTES}
        if not head.is_text:
            context["problem"] = _("This file is not text. Download it to see it.")
        elif kind in _TABLES:
            if artifact.type == SERIES:
                chosen = request.GET.getlist("column")[:20]
                charts, columns = charts_of(head.lines(), chosen=chosen)
                context |= {"charts": charts, "columns": columns, "chosen": chosen}
            rows = _rows(head, _TABLES[kind])
            context["rows"] = _rounded(rows) if artifact.type == SERIES else rows
        else:
            context["text"] = _shown_text(head, is_json=kind == "application/json")
    else:
        context["problem"] = _("Files of this type cannot be shown. Download it to see it.")
    return page(request, scope, "preview.html", **context)


@member
@require_GET
@xframe_options_sameorigin
@csp_override(_FRAME_POLICY)
def framed(request: HttpRequest, scope: Scope, pk: UUID, artifact_pk: int) -> HttpResponse:
    """Return the page that an artifact is, for the frame of its preview."""
    run = get_object_or_404(visible_runs(scope), pk=pk)
    artifact = get_object_or_404(run.artifacts, pk=artifact_pk)
    if _mime_type(artifact) != "text/html":
        raise Http404
    content = _head(artifact).content
    return HttpResponse(content, headers={"X-Content-Type-Options": "nosniff"})


def _rows(head: FileHead, delimiter: str) -> list[list[str]]:
    """Return the first rows of a table, shortened."""
    csv.field_size_limit(MAX_BYTES)
    rows = csv.reader(io.StringIO(head.text, newline=""), delimiter=delimiter)
    try:
        return [
            [_cut(cell, MAX_CELL) for cell in row[:MAX_CELLS]] for row in islice(rows, MAX_ROWS + 1)
        ]
    except csv.Error:
        return [[_cut(line, MAX_LINE)] for line in head.lines()[: MAX_ROWS + 1]]


def _rounded(rows: list[list[str]]) -> list[list[str]]:
    """Return the rows of a time series with six digits of each figure; the download has all."""
    return [
        [f"{float(cell):.6g}" if _LONG.fullmatch(cell) else cell for cell in row] for row in rows
    ]


def _shown_text(head: FileHead, *, is_json: bool) -> str:
    """Return the first lines; JSON that is whole is indented."""
    text = head.text
    if is_json and head.is_whole:
        with suppress(ValueError, RecursionError):  # shown as it is
            json.loads(text)
            text = _indented(text)
    lines = text.split("\n")
    shown = [_cut(line, MAX_LINE) for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        shown.append("…")
    return "\n".join(shown)


def _indented(text: str) -> str:
    """Return the first lines of valid JSON, its values as written; all lines could take a gigabyte."""
    parts: list[str] = []
    depth, lines, before = 0, 0, ""
    for match in _JSON_TOKEN.finditer(text):
        word = match[0]
        opened = before in ("[", "{")
        depth -= word in ("]", "}")
        if before == "," or opened != (word in ("]", "}")):
            parts.append("\n" + "  " * depth)
            lines += 1
        if lines > MAX_LINES:
            break
        parts.append(": " if word == ":" else word)
        depth += word in ("[", "{")
        before = word
    return "".join(parts)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
