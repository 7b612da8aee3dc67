"""The API of notifications: the user's list, and the preferences in an organisation."""

import datetime as dt
from typing import Annotated, Self
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel, Field
from rest_framework.request import Request

from validibot.accounts.models import KeyScope, User
from validibot.accounts.scope import Scope
from validibot.api import schema
from validibot.api.access import check_key_scope, person_of, scope_in
from validibot.api.base import ApiView, operation
from validibot.api.bodies import Body, read_body, refusals
from validibot.api.documents import ListPage, respond
from validibot.api.lists import PathCursorPagination, choice, query_text
from validibot.core.echo import echo
from validibot.core.problems import ApiError
from validibot.notifications import preferences
from validibot.notifications.models import (
    Coverage,
    MailRhythm,
    Notification,
    NotificationPreference,
    Occasion,
    ResultChange,
)
from validibot.workflows.select import visible_workflows

MAX_MARKED = 1000
_NO_PERSON = "A service key has no notifications. Use a key of your own."
_UNREAD = OpenApiParameter(
    "unread",
    str,
    enum=["true", "false"],
    description="Only those that were not read, or only read ones.",
)
_WORKFLOW = OpenApiParameter(
    "workflow",
    schema.TEXT,
    description="A workflow's slug; without it the preference for all others.",
)

type NotificationId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class NotificationDocument(BaseModel):
    """A notification about the end of a run."""

    id: int
    created_at: dt.datetime
    read_at: dt.datetime | None
    organisation: str = Field(description="Its slug.")
    run: UUID
    workflow: str
    title: str
    result: str
    change: str = Field(
        description=f"How it differs from the run before: {', '.join(filter(None, ResultChange.values))}, or empty."
    )
    finding: str
    url: str

    @classmethod
    def of(cls, row: Notification) -> Self:
        names = ("created_at", "read_at", "run", "workflow", "title", "result", "change", "finding")
        fields = {name: getattr(row, name) for name in names}
        return cls(id=row.pk, organisation=row.organisation.slug, url=row.url, **fields)


class NotificationPage(ListPage[NotificationDocument]):
    """A page of notifications."""


class ReadNotifications(Body):
    """The notifications to be marked as read: these, or all without `ids`."""

    ids: list[NotificationId] | None = Field(None, max_length=MAX_MARKED)


class MarkedNotifications(BaseModel):
    """How many were marked as read now."""

    marked: int


class Preference(Body):
    """The runs that the user is notified of, and how; `workflow` is empty for all others."""

    workflow: Annotated[str, Field(max_length=60, pattern="^[-a-zA-Z0-9_]*$")] = ""
    occasion: Occasion = Occasion.FAILURES
    coverage: Coverage = Coverage.OWN
    in_list: bool = True
    mail: MailRhythm = MailRhythm.AT_ONCE


class PreferenceList(BaseModel):
    """The preferences of the user in an organisation; without one for all, failures of own runs are mailed."""

    results: list[Preference]


class NotificationsView(ApiView):
    """The notifications of the user in all organisations, newest first."""

    @operation(
        operation_id="list_notifications",
        parameters=[_UNREAD, *schema.PAGE],
        responses=schema.read(NotificationPage),
    )
    def get(self, request: Request) -> HttpResponse:
        check_key_scope(request, KeyScope.READ)
        rows = preferences.listed(_person(request)).select_related("organisation")
        if unread := choice(request, "unread", ["true", "false"]):
            rows = rows.filter(read_at__isnull=unread == "true")
        return PathCursorPagination(rows, "-created_at").answer(
            request, NotificationDocument.of, NotificationPage
        )


class NotificationsReadView(ApiView):
    """Mark notifications as read; what was read before stays as it is."""

    @operation(
        operation_id="mark_notifications",
        request=ReadNotifications,
        responses=schema.answers(MarkedNotifications, 413, 415),
    )
    def post(self, request: Request) -> HttpResponse:
        user = _person(request)
        check_key_scope(request, KeyScope.MANAGE)
        body = read_body(request, ReadNotifications)
        rows = preferences.listed(user).filter(read_at=None)
        if body.ids is not None:
            rows = rows.filter(pk__in=body.ids)
        return respond(MarkedNotifications(marked=rows.update(read_at=timezone.now())))


class NotificationPreferencesView(ApiView):
    """The preferences of the user in the organisation."""

    @operation(operation_id="list_notification_preferences", responses=schema.read(PreferenceList))
    def get(self, request: Request, org: str) -> HttpResponse:
        scope = scope_in(request, org, "workflow.view")
        results = [_document(row) for row in _own(scope)]
        return respond(PreferenceList(results=results))

    @operation(
        operation_id="save_notification_preference",
        request=Preference,
        responses=schema.answers(Preference, 413, 415),
    )
    def put(self, request: Request, org: str) -> HttpResponse:
        """Save the preference for a workflow, or for all others; one that exists is replaced."""
        scope = _changing(request, org)
        body = read_body(request, Preference)
        if body.workflow and not visible_workflows(scope).filter(slug=body.workflow).exists():
            message = f"There is no workflow {echo(body.workflow)}."
            errors = [{"field": "workflow", "message": message}]
            raise ApiError(400, "INVALID", message, errors=errors)
        with refusals():
            saved = preferences.save(scope, **body.model_dump())
        return respond(_document(saved))

    @operation(
        operation_id="delete_notification_preference",
        parameters=[_WORKFLOW],
        responses=schema.answers(PreferenceList),
    )
    def delete(self, request: Request, org: str) -> HttpResponse:
        """Remove a preference: that for all workflows, or the default, holds again."""
        scope = _changing(request, org)
        workflow = query_text(request.query_params, "workflow")
        if not preferences.remove(scope, _own(scope).filter(workflow=workflow)):
            message = f"You have no preference for {workflow[:80] or 'all workflows'}."
            errors = [{"field": "workflow", "message": message}]
            raise ApiError(404, "NOT_FOUND", message, errors=errors)
        return respond(PreferenceList(results=[_document(row) for row in _own(scope)]))


def _person(request: Request) -> User:
    return person_of(request, _NO_PERSON)


def _changing(request: Request, org: str) -> Scope:
    scope = scope_in(request, org, "workflow.view")
    _person(request)
    check_key_scope(request, KeyScope.MANAGE)
    return scope


def _own(scope: Scope) -> "QuerySet[NotificationPreference]":
    return NotificationPreference.objects.filter(user=scope.user, organisation=scope.organisation)


def _document(row: NotificationPreference) -> Preference:
    return Preference(**{name: getattr(row, name) for name in Preference.model_fields})
