"""Rows of the whole deployment: site settings, maintenance, periodic work, waiting mails, limits."""

import uuid
from typing import Annotated, Any

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from pydantic import AfterValidator


def _check_uuid(text: str) -> str:
    return str(uuid.UUID(text))


# A row's UUID as the argument of a task: arguments are JSON.
type RowId = Annotated[str, AfterValidator(_check_uuid)]


class SignUp(models.TextChoices):
    """Choices of the site setting `sign_up`."""

    OPEN = "open", _("Open to everybody")
    INVITATION = "invitation", _("By invitation only")
    CLOSED = "closed", _("Closed")


def _limit(name: Any) -> "models.PositiveIntegerField[int | None, int | None]":
    return models.PositiveIntegerField(
        name,
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Those that exist stay. Empty: no limit."),
    )


class SiteSettings(models.Model):
    """Settings of the whole site, edited in the admin site: the one row of this table."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    sign_up = models.CharField(
        _("sign-up"),
        max_length=20,
        choices=SignUp,
        default=SignUp.OPEN,
        help_text=_("Who may make an account. Existing accounts can always sign in."),
    )
    banner = models.CharField(
        _("banner"),
        max_length=500,
        blank=True,
        help_text=_("A text at the top of every page. Empty: no banner."),
    )
    support_email = models.EmailField(
        _("support address"),
        blank=True,
        default="",
        db_default="",
        help_text=_("Support requests are mailed to it. Empty: they are stored only."),
    )
    # Limits (see core.site_limits); their names are part of messages.
    largest_file_megabytes = models.PositiveIntegerField(
        _("largest file in MB"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Of a submission. The deployment's MAX_UPLOAD_BYTES holds in any case."),
    )
    workflows_per_organisation = _limit(_("workflows per organisation"))
    members_per_organisation = _limit(_("members per organisation"))
    schedules_per_organisation = _limit(_("schedules per organisation"))
    organisations_per_user = _limit(_("organisations per user"))
    concurrent_runs_per_organisation = models.PositiveIntegerField(
        _("runs of an organisation at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Further runs wait for their turn. An organisation may have another number."),
    )

    class Meta:
        verbose_name = _("site settings")
        verbose_name_plural = _("site settings")
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="site_settings_is_one_row")
        ]

    def __str__(self) -> str:
        return "Site settings"

    @classmethod
    def load(cls) -> "SiteSettings":
        """Return the row, or an unsaved one with the defaults."""
        return cls.objects.first() or cls()


class Maintenance(models.Model):
    """A deployment is under maintenance as long as there is the one row of this table."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    since = models.DateTimeField(auto_now_add=True)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="maintenance_is_one_row")
        ]

    def __str__(self) -> str:
        return self.note or f"since {self.since:%Y-%m-%d %H:%M} UTC"


class Deployment(models.Model):
    """The identity of this database, in the one row of this table.

    A marker object below DATA_ROOT repeats it, so that a purge removes no files of another database
    (see `validibot.runs.purge`).
    """

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    database_id = models.UUIDField(default=uuid.uuid4, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="deployment_is_one_row")
        ]

    def __str__(self) -> str:
        return str(self.database_id)


class ScheduledWork(models.Model):
    """The last pass of periodic work: when it began and ended, and its counts or its error.

    `result` stays that of the last pass that succeeded. See `core.scheduled_work`.
    """

    name = models.CharField(_("work"), max_length=60, primary_key=True)
    started_at = models.DateTimeField(_("began"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    result = models.JSONField(default=dict, blank=True)
    error = models.TextField(_("error"), blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("periodic work")
        verbose_name_plural = _("periodic work")

    def __str__(self) -> str:
        return self.name


class PendingMail(models.Model):
    """A rendered mail until a background task has sent it; it may hold a secret link."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sender = models.CharField(max_length=320)
    recipients = models.JSONField()
    reply_to = models.CharField(max_length=320, blank=True, default="", db_default="")
    subject = models.CharField(max_length=998)
    text = models.TextField()
    html = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return str(self.id)


class CacheEntry(models.Model):
    """The table of Django's database cache, which has the columns that `DatabaseCache` expects.

    A model, so that `migrate` makes it and no operator has to remember `createcachetable`.
    """

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "core_cache"
        verbose_name_plural = "cache entries"

    def __str__(self) -> str:
        return self.cache_key


class FailureCount(models.Model):
    """Failures of one key since the first one, until `expires_at`; see `core.throttle`."""

    key = models.CharField(max_length=200, primary_key=True)
    count = models.PositiveIntegerField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key


class RequestCount(models.Model):
    """Requests of one key since the first one, until `expires_at`; see `core.throttle`.

    The table is not logged (migration 0007): a crash of the database forgets a minute of counts, and
    no request waits for the disk.
    """

    key = models.CharField(max_length=200, primary_key=True)
    count = models.PositiveIntegerField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key
