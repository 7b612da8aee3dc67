"""Schedules, which start runs of a workflow at set times."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from validibot.accounts.models import Organisation


class WorkflowSchedule(models.Model):
    """The times at which a workflow runs on a kept file, or on a file that is fetched from `url`.

    `workflow` is the slug: the newest active version runs. `cron` has five fields, read in `time_zone`.
    `created_by` is the user whose runs they are. `next_at` is None while the schedule is paused; a
    time that has come stays there until its run is started or given up. `retry_at` is when a start that
    failed is tried again. `error` tells why the last time started no run, or why the schedule was paused.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="schedules", db_index=False
    )
    workflow = models.SlugField(max_length=60, db_index=False)
    name = models.CharField(max_length=150)
    cron = models.CharField(max_length=100)
    time_zone = models.CharField(max_length=50)
    url = models.CharField(max_length=500, blank=True)
    # The kept file, in the library of files below the data root.
    filename = models.CharField(max_length=200, blank=True)
    uri = models.CharField(max_length=1000, blank=True)
    storage_version = models.CharField(max_length=512, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    metadata = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(default=timezone.now)
    next_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["name", "pk"]
        indexes: ClassVar = [
            models.Index(fields=["organisation", "workflow"], name="schedules_of_workflow"),
            models.Index(
                fields=["next_at"],
                condition=models.Q(next_at__isnull=False),
                name="schedules_by_time",
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(url="") ^ models.Q(uri=""), name="schedule_has_one_source"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        return self.next_at is None
