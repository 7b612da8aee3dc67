"""Preferences of people, ends of runs that are still to be told, and the notifications made of them."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation

# The results of runs that count as failures.
FAILURES = frozenset({"FAIL", "ERROR", "TIMED_OUT"})


class Occasion(models.TextChoices):
    """The results of runs that a person is notified of."""

    ALWAYS = "always", _("Every result")
    FAILURES = "failures", _("Failures and errors")
    ON_CHANGE = "on_change", _("Changes: the first failure after a pass, and the reverse")
    NEVER = "never", _("Nothing")


class Coverage(models.TextChoices):
    """The runs that a preference covers, by who started them."""

    OWN = "own", _("Runs that I start")
    ALL = "all", _("All runs that I may see")


class MailRhythm(models.TextChoices):
    """When notifications are mailed."""

    NONE = "none", _("No mail")
    AT_ONCE = "at_once", _("At once")
    DAILY = "daily", _("Once a day")
    WEEKLY = "weekly", _("Once a week")


class Channel(models.TextChoices):
    """The way that a notification takes to its user."""

    LIST = "list", _("List on this site")
    MAIL = "mail", _("Mail")


class ResultChange(models.TextChoices):
    """How a result differs from that of the run before."""

    NONE = "", _("No change")
    BROKEN = "broken", _("Fails now")
    FIXED = "fixed", _("Passes again")


class NotificationPreference(models.Model):
    """The runs that a user is notified of in an organisation, and how.

    `workflow` is the slug of one workflow in all its versions; empty for all that have no preference
    of their own. See `preferences.DEFAULT` for users without a row.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notification_preferences",
        db_index=False,
    )
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="notification_preferences"
    )
    workflow = models.SlugField(max_length=60, blank=True, db_index=False)
    occasion = models.CharField(
        _("notify me of"), max_length=10, choices=Occasion, default=Occasion.FAILURES
    )
    coverage = models.CharField(_("runs"), max_length=5, choices=Coverage, default=Coverage.OWN)
    in_list = models.BooleanField(_("show in the list of notifications"), default=True)
    mail = models.CharField(
        _("mail"), max_length=10, choices=MailRhythm, default=MailRhythm.AT_ONCE
    )

    class Meta:
        ordering: ClassVar = ["organisation__name", "workflow"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "organisation", "workflow"], name="one_preference_per_workflow"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.occasion} of {self.workflow or 'all workflows'}"


class RunNotice(models.Model):
    """The end of a run that people are still to be notified of; written with the end itself.

    The row goes in the transaction that writes the notifications, so a task that is delivered again
    finds nothing to do. `run` is the run's id: runs live in a layer above.
    """

    run = models.UUIDField(primary_key=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return str(self.run)


class Notification(models.Model):
    """A message to a user about one run, by one channel; it holds all that is shown.

    Mail: it may be sent from `due_at` on; who sends it moves `due_at` on first, so that nobody else
    does the same meanwhile. `ended_at` is when it was sent, or refused for good (`error`).
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notifications",
        db_index=False,
    )
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="notifications"
    )
    run = models.UUIDField(editable=False)
    workflow = models.SlugField(max_length=60, db_index=False)
    channel = models.CharField(max_length=5, choices=Channel)
    title = models.CharField(max_length=500)
    result = models.CharField(max_length=20)
    change = models.CharField(max_length=10, choices=ResultChange, blank=True)
    finding = models.CharField(max_length=500, blank=True)
    # The workflow of the preference that asked for it; empty for that of the organisation.
    preference = models.SlugField(max_length=60, blank=True, db_index=False)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    read_at = models.DateTimeField(null=True, blank=True)
    rhythm = models.CharField(max_length=10, choices=MailRhythm, default=MailRhythm.NONE)
    due_at = models.DateTimeField(null=True, blank=True)
    # When the sweep enqueued it again.
    enqueued_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "user", "channel"], name="one_notification_per_channel"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["user", "-created_at", "-id"],
                condition=Q(channel=Channel.LIST),
                name="list_of_notifications",
            ),
            models.Index(
                fields=["user"],
                condition=Q(channel=Channel.LIST, read_at=None),
                name="unread_notifications",
            ),
            models.Index(
                fields=["due_at"],
                condition=Q(channel=Channel.MAIL, ended_at=None),
                name="unsent_notifications",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def path(self) -> str:
        """The path of the run's page."""
        return f"/app/orgs/{self.organisation.slug}/runs/{self.run}/"

    @property
    def url(self) -> str:
        return f"{settings.SITE_URL}{self.path}"
