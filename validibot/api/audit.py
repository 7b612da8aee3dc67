"""The API of the audit log: its entries in pages, and all of them as CSV or JSON Lines."""

import datetime as dt
from typing import Self

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel, JsonValue
from rest_framework.request import Request

from validibot.accounts import audit
from validibot.accounts.models import AuditEntry
from validibot.api import schema
from validibot.api.access import scope_in
from validibot.api.base import ApiView, operation
from validibot.api.documents import ListPage
from validibot.api.lists import PathCursorPagination, choice, query_day, query_text
from validibot.core.downloads import streamed

_FILTERS = [
    OpenApiParameter("actor", schema.TEXT, description="Text in the email address."),
    OpenApiParameter("action", schema.TEXT, description="An action, or its kind: `member`."),
    OpenApiParameter("after", dt.date, description="On this day or later (UTC)."),
    OpenApiParameter("before", dt.date, description="Before this day (UTC)."),
]


class AuditDocument(BaseModel):
    """An entry of the audit log; `changes` has the values before and after by field."""

    id: int
    at: dt.datetime
    actor: str
    action: str
    target: str
    changes: JsonValue
    address: str | None
    via: str
    request_id: str

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


class AuditPage(ListPage[AuditDocument]):
    """A page of the audit log."""


class AuditView(ApiView):
    """The audit log, newest first."""

    @operation(
        operation_id="list_audit_entries",
        parameters=[*_FILTERS, *schema.PAGE],
        responses=schema.read(AuditPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        pages = PathCursorPagination(_entries(request, org), "-id")
        return pages.answer(request, AuditDocument.of, AuditPage)


class AuditExportView(ApiView):
    """The entries of the audit log as a file."""

    @operation(
        operation_id="export_audit_log",
        parameters=[
            OpenApiParameter("kind", str, enum=list(audit.FORMATS), description="`csv`."),
            *_FILTERS,
        ],
        responses=schema.answers(OpenApiTypes.BINARY, media_type="application/octet-stream"),
    )
    def get(self, request: Request, org: str) -> StreamingHttpResponse:
        entries = _entries(request, org)
        kind = choice(request, "kind", list(audit.FORMATS)) or "csv"
        return streamed(audit.FORMATS[kind](entries), name=f"audit.{kind}")


def _entries(request: Request, org: str) -> QuerySet[AuditEntry]:
    organisation = scope_in(request, org, "audit.view").organisation
    parameters = request.query_params
    return audit.filter_entries(
        organisation,
        actor=query_text(parameters, "actor"),
        action=query_text(parameters, "action"),
        after=query_day(parameters, "after"),
        before=query_day(parameters, "before"),
    )
