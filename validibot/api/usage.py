"""The API of credits: the balance, the usage by group, and the ledger in pages."""

import datetime as dt
from functools import partial
from typing import Self
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel, Field
from rest_framework.request import Request

from validibot.accounts.scope import Scope
from validibot.api import schema
from validibot.api.access import refused, scope_in
from validibot.api.base import ApiView, operation
from validibot.api.documents import ListPage, respond
from validibot.api.lists import PathCursorPagination, choice, query_day
from validibot.credits.ledger import balance_of
from validibot.credits.models import EntryKind, LedgerEntry
from validibot.credits.usage import GROUPS, entries_between, groups_for, shows_people, usage_by

_RANGE = [
    OpenApiParameter("after", dt.date, description="On this day or later (UTC)."),
    OpenApiParameter("before", dt.date, description="Before this day (UTC)."),
]


class CreditsDocument(BaseModel):
    """The credits of an organisation; `balance` is null if it has no limit."""

    is_limited: bool
    balance: int | None


class UsageDocument(BaseModel):
    """The steps that were paid for in a group: a month (`2026-05`), or a workflow, validator or person."""

    name: str
    steps: int
    credits: int


class UsagePage(BaseModel):
    """The usage by group: months in order, others by their credits, the 200 largest."""

    results: list[UsageDocument]


class LedgerEntryDocument(BaseModel):
    """An entry of the ledger; `person` started the run, or made the grant.

    It is empty for users who may not see the runs of all.
    """

    id: int
    at: dt.datetime
    kind: str = Field(description=f"One of {', '.join(EntryKind.values)}.")
    amount: int
    run: UUID | None
    step: int | None
    workflow: str
    validator: str
    person: str
    note: str

    @classmethod
    def of(cls, entry: LedgerEntry, *, has_person: bool) -> Self:
        return cls(
            id=entry.pk,
            at=entry.at,
            kind=entry.kind,
            amount=entry.amount,
            run=entry.run,
            step=entry.step or None,
            workflow=entry.workflow,
            validator=entry.validator,
            person=entry.user.email if has_person and entry.user else "",
            note=entry.note,
        )


class LedgerPage(ListPage[LedgerEntryDocument]):
    """A page of the ledger."""


class CreditsView(ApiView):
    """The credits of the organisation."""

    @operation(operation_id="get_credits", responses=schema.read(CreditsDocument))
    def get(self, request: Request, org: str) -> HttpResponse:
        balance = balance_of(scope_in(request, org, "analytics.view").organisation)
        return respond(CreditsDocument(is_limited=balance is not None, balance=balance))


class UsageView(ApiView):
    """The credits that runs have used, by month or another group."""

    @operation(
        operation_id="list_usage",
        parameters=[
            OpenApiParameter("by", str, enum=list(GROUPS), description="The group; `month`."),
            *_RANGE,
        ],
        responses=schema.read(UsagePage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        scope = scope_in(request, org, "analytics.view")
        by = choice(request, "by", list(GROUPS)) or "month"
        if by not in groups_for(scope):
            raise refused(scope, "run.view_all")
        rows = usage_by(by, _entries(request, scope))
        results = [
            UsageDocument(name=row.name, steps=row.steps, credits=row.credits) for row in rows
        ]
        return respond(UsagePage(results=results))


class LedgerView(ApiView):
    """The entries of the ledger, newest first."""

    @operation(
        operation_id="list_ledger_entries",
        parameters=[
            OpenApiParameter("kind", str, enum=EntryKind.values, description="Entries of a kind."),
            *_RANGE,
            *schema.PAGE,
        ],
        responses=schema.read(LedgerPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        scope = scope_in(request, org, "analytics.view")
        entries = _entries(request, scope)
        if kind := choice(request, "kind", EntryKind.values):
            entries = entries.filter(kind=kind)
        pages = PathCursorPagination(entries.select_related("user"), "-id")
        document = partial(LedgerEntryDocument.of, has_person=shows_people(scope))
        return pages.answer(request, document, LedgerPage)


def _entries(request: Request, scope: Scope) -> "QuerySet[LedgerEntry]":
    parameters = request.query_params
    return entries_between(
        scope.organisation, query_day(parameters, "after"), query_day(parameters, "before")
    )
