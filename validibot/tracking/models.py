"""Events of the use of the product."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class EventName(models.TextChoices):
    """The names of events."""

    SIGNED_UP = "account.signed_up", _("An account was made")
    ORGANISATION_CREATED = "organisation.created", _("An organisation was made")
    MEMBER_JOINED = "member.joined", _("An invitation was accepted")
    WORKFLOW_CREATED = "workflow.created", _("A workflow was made")
    RUN_LAUNCHED = "run.launched", _("A run was started")
    SCHEDULE_CREATED = "schedule.created", _("A schedule was made")
    WEBHOOK_CREATED = "webhook.created", _("A webhook was made")


class TrackingEvent(models.Model):
    """An event of the use of the product; see events. `extra` has texts, numbers and booleans by name.

    `actor` becomes empty with the deletion of the account; events go with their organisation.
    """

    at = models.DateTimeField(default=timezone.now, db_index=True)
    name = models.CharField(max_length=40, choices=EventName)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    organisation = models.ForeignKey(
        "accounts.Organisation", null=True, on_delete=models.CASCADE, related_name="+"
    )
    extra = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.name}"
