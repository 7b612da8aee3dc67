"""The figures of a day, and the days that were counted."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation


class FigureKind(models.TextChoices):
    """The parts of an organisation that have figures of their own."""

    ORGANISATION = "organisation", _("Organisation")
    PROJECT = "project", _("Project")
    WORKFLOW = "workflow", _("Workflow")
    VALIDATOR = "validator", _("Validator")


class DailyFigures(models.Model):
    """The runs of one part of an organisation that ended on a day (UTC); of a validator, its steps.

    `key` is the slug of the part, "" for the whole organisation. `durations` counts runs by the place of
    their duration on a scale (`validibot.dashboards.durations`). `rules` are the rules with most
    findings: [{severity, code, count}]. `people` counts those who started runs.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="figures", db_index=False
    )
    day = models.DateField()
    kind = models.CharField(max_length=20, choices=FigureKind)
    key = models.CharField(max_length=60, blank=True)
    passed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    timed_out = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    findings = models.PositiveBigIntegerField(default=0)
    people = models.PositiveIntegerField(default=0)
    durations = models.JSONField(default=dict)
    rules = models.JSONField(default=list)

    class Meta:
        verbose_name_plural = "daily figures"
        ordering: ClassVar = ["day"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "kind", "key", "day"], name="figures_of_day_are_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} {self.day}"


class CountedDay(models.Model):
    """A day (UTC) whose runs were counted; `is_over` says that they are not counted again."""

    day = models.DateField(primary_key=True)
    is_over = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["day"]

    def __str__(self) -> str:
        return str(self.day)
