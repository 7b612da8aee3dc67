"""A run and its steps."""

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from validibot.accounts.models import Organisation
from validibot.runs.states import (
    ErrorCategory,
    RunStatus,
    StepStatus,
    public_result,
    public_state,
)
from validibot.submissions.models import Submission
from validibot.workflows.models import Step, Workflow
from validibot.workflows.scenarios import MAX_CHARACTERS


class Run(models.Model):
    """One submission on its way through one version of a workflow.

    A worker holds the run while `lease_expires_at` lies ahead and proves it by `lease_token`.
    `enqueued_at` is when a queue entry was last made for it (the sweep looks at it). `scenario` is
    how its mocked validators are to behave.
    """

    class Source(models.TextChoices):
        LAUNCH_PAGE = "LAUNCH_PAGE"
        API = "API"
        CLI = "CLI"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="runs")
    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="runs")
    submission = models.OneToOneField(Submission, on_delete=models.PROTECT, related_name="run")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    source = models.CharField(max_length=20, choices=Source, default=Source.API)
    scenario = models.CharField(max_length=MAX_CHARACTERS, blank=True, default="")
    status = models.CharField(max_length=20, choices=RunStatus, default=RunStatus.PENDING)
    error_category = models.CharField(max_length=20, choices=ErrorCategory, blank=True, default="")
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["organisation", "-created_at"]),
            models.Index(
                fields=["status", "created_at"],
                condition=models.Q(status__in=["PENDING", "RUNNING"]),
                name="unfinished_runs",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def state(self) -> str:
        return public_state(self.status)

    @property
    def result(self) -> str:
        return public_result(self.status, self.error_category)

    @property
    def duration_ms(self) -> int:
        if not self.started_at or not self.ended_at:
            return 0
        return max(0, round((self.ended_at - self.started_at).total_seconds() * 1000))


@dataclass(frozen=True, slots=True)
class OutputValue:
    """A named output of a step, as it is shown."""

    slug: str
    label: str
    value: Any
    unit: str


class StepRun(models.Model):
    """One step of a run. `outputs` are its output values by slug; `error` is for people."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    step = models.ForeignKey(Step, on_delete=models.PROTECT)
    order = models.PositiveIntegerField()
    status = models.CharField(max_length=20, choices=StepStatus, default=StepStatus.PENDING)
    error = models.TextField(blank=True)
    outputs = models.JSONField(default=dict, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["order"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "order"], name="step_run_order_is_unique")
        ]

    def __str__(self) -> str:
        return f"step {self.order} of {self.run_id}"

    def output_values(self) -> list[OutputValue]:
        """Return the outputs in the order of the validator's catalogue, then all others.

        An output that is itself a table of values (a model's variables) counts as its entries.
        """
        catalogue = {entry["slug"]: entry for entry in self.step.validator.outputs}
        ordered = {slug: self.outputs[slug] for slug in catalogue if slug in self.outputs}
        values: list[OutputValue] = []
        for slug, value in (ordered | self.outputs).items():
            entry = catalogue.get(slug, {})
            if isinstance(value, dict):
                values += [OutputValue(name, name, each, "") for name, each in value.items()]
            else:
                label = entry.get("label") or slug
                values.append(OutputValue(slug, label, value, entry.get("unit", "")))
        return values


class IdempotencyKey(models.Model):
    """What an `Idempotency-Key` answered; `fingerprint` tells an honest retry from a reuse.

    `run` is null while the first request is being answered.
    """

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.CASCADE)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "user", "key"], name="idempotency_key_is_unique"
            )
        ]

    def __str__(self) -> str:
        return self.key
