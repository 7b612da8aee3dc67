"""Exports that a task makes and that are kept as files for some time."""

from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from validibot.runs.models.runs import Run


class ExportState(models.TextChoices):
    """The state of an export."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


class ExportFile(models.Model):
    """A report or archive of an ended run, or the data of an account, as a file.

    There is one for each `kind` and, of kinds with texts, each language and time zone of readers. It is
    made anew when it has been removed. `tries` counts the beginnings that had no end.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    run = models.ForeignKey(Run, null=True, on_delete=models.CASCADE, related_name="export_files")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.CASCADE,
        related_name="export_files",
    )
    kind = models.CharField(max_length=20)
    language = models.CharField(max_length=20, blank=True)
    time_zone = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=10, choices=ExportState, default=ExportState.PENDING)
    tries = models.PositiveSmallIntegerField(default=0)
    requested_at = models.DateTimeField(default=timezone.now, db_index=True)
    uri = models.CharField(max_length=1000, blank=True)
    storage_version = models.CharField(max_length=512, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "user", "kind", "language", "time_zone"],
                nulls_distinct=False,
                name="export_is_made_once",
            ),
            models.CheckConstraint(
                condition=Q(run=None) ^ Q(user=None), name="export_is_of_run_or_user"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["requested_at"], condition=Q(state="PENDING"), name="pending_exports"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.run_id or self.user_id}"

    @property
    def folder(self) -> str:
        """The folder URI below which its file is; that of a run is deleted with the run."""
        if self.run is None:
            return f"{settings.DATA_ROOT}/accounts/{self.user_id}/{self.pk}/"
        owner = f"runs/{self.run.organisation_id}/{self.run.pk}"
        return f"{settings.DATA_ROOT}/{owner}/exports/{self.pk}/"
