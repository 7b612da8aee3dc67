"""Webhooks and their deliveries."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation


class EventKind(models.TextChoices):
    """The kinds of events; `run.…` is a run that has ended so."""

    RUN_PASSED = "run.passed", _("A run passed")
    RUN_FAILED = "run.failed", _("A run failed: the file does not satisfy its workflow")
    RUN_ERROR = "run.error", _("A run ended with an error: nothing is said about the file")
    RUN_TIMED_OUT = "run.timed_out", _("A run exceeded its time")
    RUN_CANCELED = "run.canceled", _("A run was cancelled")


TEST_EVENT = "webhook.test"


class MessageStyle(models.TextChoices):
    """The body of a message."""

    STANDARD = "standard", _("Standard Webhooks (JSON)")
    SLACK = "slack", _("Slack, Mattermost and compatible services")
    TEAMS = "teams", _("Microsoft Teams (Workflows)")


class Webhook(models.Model):
    """An address of an organisation to which messages about events are sent.

    Its secret is not stored: it is derived from `public_id` and `secret_version` (see `signing`).
    `failing_since` is when the first delivery after the last success failed.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="webhooks"
    )
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100)
    url = models.CharField(max_length=500)
    events = models.JSONField(default=list)
    style = models.CharField(max_length=10, choices=MessageStyle, default=MessageStyle.STANDARD)
    secret_version = models.PositiveIntegerField(default=1)
    is_active = models.BooleanField(default=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class DeliveryStatus(models.TextChoices):
    """The life of a delivery; the last two are terminal."""

    PENDING = "PENDING", _("Waiting")
    DELIVERED = "DELIVERED", _("Delivered")
    FAILED = "FAILED", _("Failed")


class WebhookDelivery(models.Model):
    """A message to a webhook. `document` never changes; a message that is sent again is a new row.

    `due_at` is when it may be sent next; a worker that sends it moves it on first, so that no other
    does the same meanwhile. `error` is for people: the last reason why it was not delivered.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=40)
    document = models.JSONField()
    status = models.CharField(max_length=10, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    response_status = models.PositiveIntegerField(null=True, blank=True)
    response_text = models.CharField(max_length=1000, blank=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        verbose_name_plural = "webhook deliveries"
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(status=DeliveryStatus.PENDING),
                name="pending_deliveries",
            ),
            models.Index(fields=["webhook", "-created_at"], name="deliveries_of_webhook"),
        ]

    def __str__(self) -> str:
        return self.message_id

    @property
    def message_id(self) -> str:
        """The id that the receiver gets: the same for each attempt, so that it can drop repeats."""
        return f"msg_{self.pk.hex}"

    @classmethod
    def of(cls, webhook: Webhook, event: str, data: dict[str, Any]) -> "WebhookDelivery":
        """Return the unsaved row of a message."""
        now = timezone.now()
        document = {"type": event, "timestamp": now.isoformat(), "data": data}
        return cls(webhook=webhook, event=event, document=document, created_at=now, due_at=now)
