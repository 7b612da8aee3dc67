"""The API of webhooks: their settings, their deliveries, and messages that are sent again."""

import datetime as dt
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from pydantic import BaseModel, Field, JsonValue
from rest_framework.request import Request

from validibot.accounts.scope import Scope
from validibot.api import schema
from validibot.api.access import scope_in
from validibot.api.base import ApiView, check_unchanged, operation
from validibot.api.bodies import Body, read_body, refusals
from validibot.api.documents import ListPage, Name, respond
from validibot.api.lists import PathCursorPagination
from validibot.core.problems import ApiError
from validibot.webhooks import editing
from validibot.webhooks.delivery import resend
from validibot.webhooks.models import (
    DeliveryStatus,
    EventKind,
    MessageStyle,
    Webhook,
    WebhookDelivery,
)
from validibot.webhooks.signing import secret_of

type Events = Annotated[list[EventKind], Field(min_length=1, max_length=len(EventKind))]
type Address = Annotated[str, Field(max_length=500)]


class NewWebhook(Body):
    """A webhook to be created."""

    name: Name
    url: Address
    events: Events
    style: MessageStyle = MessageStyle.STANDARD


class WebhookChange(Body):
    """The settings of a webhook that are to be changed; those that are left out stay."""

    name: Name | None = None
    url: Address | None = None
    events: Events | None = None
    style: MessageStyle | None = None
    is_active: bool | None = None


class WebhookDocument(BaseModel):
    """A webhook. `failing_since` is when the first message after the last success failed."""

    id: int
    name: str
    url: str
    events: list[str]
    style: str
    is_active: bool
    failing_since: dt.datetime | None
    disabled_reason: str
    created_at: dt.datetime

    @classmethod
    def of(cls, webhook: Webhook, **more: Any) -> Self:
        names = WebhookDocument.model_fields
        return cls(**{name: getattr(webhook, name) for name in names}, **more)


class WebhookWithSecret(WebhookDocument):
    """A webhook with the secret that its receiver verifies signatures with."""

    secret: str = Field(description="Shown when a webhook is created or gets another secret.")


class DeliveryDocument(BaseModel):
    """A message to a webhook, and what became of it."""

    id: UUID
    event: str
    status: DeliveryStatus
    attempts: int
    response_status: int | None
    response_text: str
    error: str
    created_at: dt.datetime
    due_at: dt.datetime
    ended_at: dt.datetime | None
    document: JsonValue

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> Self:
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


class WebhookPage(ListPage[WebhookDocument]):
    """A page of webhooks."""


class DeliveryPage(ListPage[DeliveryDocument]):
    """A page of deliveries."""


class WebhooksView(ApiView):
    """The webhooks of the organisation, by name."""

    @operation(
        operation_id="list_webhooks",
        parameters=schema.PAGE,
        responses=schema.read(WebhookPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        webhooks = scope_in(request, org, "webhook.manage").organisation.webhooks.all()
        pages = PathCursorPagination(webhooks, "name")
        return pages.answer(request, WebhookDocument.of, WebhookPage)

    @operation(
        operation_id="create_webhook",
        request=NewWebhook,
        responses=schema.answers(WebhookWithSecret, 413, 415, status=201),
    )
    def post(self, request: Request, org: str) -> HttpResponse:
        """Create a webhook; the answer has its secret."""
        scope = scope_in(request, org, "webhook.manage")
        body = read_body(request, NewWebhook)
        with refusals():
            made = editing.create(scope, **body.model_dump(mode="json"))
        place = f"/api/v1/orgs/{scope.organisation.slug}/webhooks/{made.pk}/"
        return _with_secret(made, status=201, headers={"Location": place})


class WebhookView(ApiView):
    """One webhook."""

    @operation(operation_id="get_webhook", responses=schema.read(WebhookDocument))
    def get(self, request: Request, org: str, webhook: int) -> HttpResponse:
        return respond(WebhookDocument.of(_find(request, org, webhook)))

    @operation(
        operation_id="change_webhook",
        parameters=[schema.IF_MATCH],
        request=WebhookChange,
        responses=schema.answers(WebhookDocument, 412, 413, 415),
    )
    def patch(self, request: Request, org: str, webhook: int) -> HttpResponse:
        """Change the settings that are sent."""
        scope = scope_in(request, org, "webhook.manage")
        _find(request, org, webhook)
        fields = read_body(request, WebhookChange).model_dump(mode="json", exclude_none=True)
        with transaction.atomic(), refusals():
            found = _locked(request, scope, webhook)
            if (on := fields.pop("is_active", None)) is not None:
                found = editing.switch(found, on=on)
            if fields:
                found = editing.edit(found, **fields)
        return respond(WebhookDocument.of(found))

    @operation(
        operation_id="delete_webhook",
        parameters=[schema.IF_MATCH],
        responses=schema.answers(None, 412, status=204),
    )
    def delete(self, request: Request, org: str, webhook: int) -> HttpResponse:
        """Delete the webhook with its deliveries."""
        scope = scope_in(request, org, "webhook.manage")
        with transaction.atomic():
            editing.delete(_locked(request, scope, webhook))
        return HttpResponse(status=204)


class WebhookSecretView(ApiView):
    """Give the webhook another secret; the old one ends at once."""

    @operation(
        operation_id="rotate_webhook_secret",
        request=None,
        responses=schema.answers(WebhookWithSecret),
    )
    def post(self, request: Request, org: str, webhook: int) -> HttpResponse:
        return _with_secret(editing.rotate_secret(_find(request, org, webhook)))


class WebhookTestView(ApiView):
    """Send a message to try the address."""

    @operation(
        operation_id="test_webhook",
        request=None,
        responses=schema.answers(DeliveryDocument, status=202),
    )
    def post(self, request: Request, org: str, webhook: int) -> HttpResponse:
        sent = editing.send_test(_find(request, org, webhook))
        return respond(DeliveryDocument.of(sent), status=202)


class DeliveriesView(ApiView):
    """The messages to a webhook, newest first."""

    @operation(
        operation_id="list_deliveries",
        parameters=schema.PAGE,
        responses=schema.read(DeliveryPage),
    )
    def get(self, request: Request, org: str, webhook: int) -> HttpResponse:
        pages = PathCursorPagination(_find(request, org, webhook).deliveries.all(), "-created_at")
        return pages.answer(request, DeliveryDocument.of, DeliveryPage)


class DeliveryResendView(ApiView):
    """Send the message of a delivery again, as a new delivery."""

    @operation(
        operation_id="resend_delivery",
        request=None,
        responses=schema.answers(DeliveryDocument, status=202),
    )
    def post(self, request: Request, org: str, webhook: int, delivery: UUID) -> HttpResponse:
        deliveries = _find(request, org, webhook).deliveries.select_related("webhook")
        found = deliveries.filter(pk=delivery).first()
        if found is None:
            raise ApiError(404, "NOT_FOUND", f"Webhook {webhook} has no delivery {delivery}.")
        return respond(DeliveryDocument.of(resend(found)), status=202)


def _find(request: Request, org: str, pk: int) -> Webhook:
    scope = scope_in(request, org, "webhook.manage")
    return _one(scope.organisation.webhooks.select_related("organisation"), pk)


def _locked(request: Request, scope: Scope, pk: int) -> Webhook:
    """Return the webhook, locked, if it is still what the request knows. Raises ApiError."""
    found = _one(scope.organisation.webhooks.select_for_update(), pk)
    check_unchanged(request, WebhookDocument.of(found))
    return found


def _one(webhooks: Any, pk: int) -> Webhook:
    found: Webhook | None = webhooks.filter(pk=pk).first()
    if found is None:
        raise ApiError(404, "NOT_FOUND", f"There is no webhook {pk} in this organisation.")
    return found


def _with_secret(
    webhook: Webhook, *, status: Literal[200, 201] = 200, headers: dict[str, str] | None = None
) -> HttpResponse:
    document = WebhookWithSecret.of(webhook, secret=secret_of(webhook))
    return respond(document, status=status, headers=headers)
