"""Rows of a run while it is under way: the run, its steps and its idempotency key."""

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from validibot.accounts.models import Organisation
from validibot.engines.scope import MODEL_OUTPUTS
from validibot.runs.states import (
    STEP,
    ErrorCategory,
    RunStatus,
    StepStatus,
    public_result,
    public_state,
    terminal,
)
from validibot.submissions.models import Submission
from validibot.workflows.models import Step, Workflow, WorkflowSchedule
from validibot.workflows.scenarios import MAX_CHARACTERS


class Run(models.Model):
    """One submission on its way through one version of a workflow.

    A worker holds the run while `lease_expires_at` lies ahead and proves it by `lease_token`.
    `enqueued_at` is when the run last became ready for a worker; it also names its queue entry, so
    that one moment has one entry. A run with `held_at` waits for another run of its organisation to end
    (`validibot.runs.concurrency`) and has no entry. `checked_at` is when the sweep last looked at it. `scenario` is
    how its mocked validators are to behave. `rerun_of` is the run whose submission it repeats, `retry_of` the
    run whose failed step it executes again (`validibot.runs.takeover`), `schedule` the one that started it.
    `credits` were reserved for it; None if the organisation has no limit.
    """

    class Source(models.TextChoices):
        LAUNCH_PAGE = "LAUNCH_PAGE"
        API = "API"
        CLI = "CLI"
        LINK = "LINK"
        SCHEDULE = "SCHEDULE"
        # Of one step, as it stands in the editor; lists leave these runs out.
        TRIAL = "TRIAL"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Other indexes and constraints begin with this column, here and below: db_index=False.
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="runs", db_index=False
    )
    workflow = models.ForeignKey(
        Workflow, on_delete=models.RESTRICT, related_name="runs", db_index=False
    )
    submission = models.OneToOneField(Submission, on_delete=models.RESTRICT, related_name="run")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, db_index=False
    )
    source = models.CharField(max_length=20, choices=Source, default=Source.API)
    scenario = models.CharField(max_length=MAX_CHARACTERS, blank=True, default="")
    rerun_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="reruns"
    )
    retry_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.SET_NULL,
        related_name="retries",
    )
    schedule = models.ForeignKey(
        WorkflowSchedule,
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.SET_NULL,
        related_name="runs",
    )
    status = models.CharField(max_length=20, choices=RunStatus, default=RunStatus.PENDING)
    credits = models.PositiveIntegerField(null=True, blank=True)
    error_category = models.CharField(max_length=20, choices=ErrorCategory, blank=True, default="")
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    held_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    # The steps of a run that was started in this process just now.
    started_steps: "list[StepRun] | None" = None
    # Whether the organisation had a webhook when a worker loaded the run; True where that is not known.
    # A webhook that is created while the worker is at the last steps gets no message of the run's end.
    may_be_announced: bool = True
    # Whether its organisation may have a limited number of runs at once, in the same way.
    may_be_waited_for: bool = True
    # Whether somebody in the organisation had a preference of notifications then.
    may_be_watched: bool = True

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            # Of two requests to retry a run the second finds the run of the first.
            models.UniqueConstraint(
                fields=["retry_of"],
                condition=models.Q(retry_of__isnull=False) & ~models.Q(status=RunStatus.CANCELED),
                name="one_retry_of_a_run",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organisation", "-created_at"]),
            # Those of the filters of lists: by workflow, person, source and result.
            models.Index(fields=["workflow", "-created_at"], name="runs_of_workflow"),
            models.Index(fields=["user", "organisation", "-created_at"], name="runs_of_person"),
            models.Index(fields=["organisation", "source", "-created_at"], name="runs_by_source"),
            models.Index(
                fields=["schedule", "-created_at"],
                condition=models.Q(schedule__isnull=False),
                name="runs_of_schedule",
            ),
            models.Index(
                fields=["organisation", "status", "error_category", "-created_at"],
                name="runs_by_result",
            ),
            # For the figures of a day, and for retention.
            models.Index(
                fields=["ended_at"],
                condition=models.Q(ended_at__isnull=False),
                name="ended_runs",
            ),
            models.Index(
                fields=["status", "created_at"],
                condition=models.Q(status__in=["PENDING", "RUNNING"]),
                name="unfinished_runs",
            ),
            models.Index(
                fields=["organisation"],
                condition=models.Q(status__in=["PENDING", "RUNNING"]),
                name="unfinished_runs_of",
            ),
            models.Index(
                fields=["retry_of"],
                condition=models.Q(retry_of__isnull=False),
                name="retries_of_run",
            ),
            models.Index(
                fields=["organisation", "held_at"],
                condition=models.Q(held_at__isnull=False),
                name="held_runs",
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
    def input_kept_until(self) -> dt.datetime | None:
        """When the submitted file is removed, if the workflow says so and the run has ended."""
        return self._kept_until(self.workflow.input_retention_days)

    @property
    def result_kept_until(self) -> dt.datetime | None:
        """When the run is removed, if the workflow says so and the run has ended."""
        return self._kept_until(self.workflow.result_retention_days)

    def _kept_until(self, days: int | None) -> dt.datetime | None:
        return self.ended_at + dt.timedelta(days=days) if self.ended_at and days else None

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


def digest_of(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a step's configuration as JSON with sorted keys, in hex."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class StepRun(models.Model):
    """One step of a run. `outputs` are its output values by slug; `error` is for people.

    `name`, `validator` (its slug), `validator_version`, `config_digest` and `image` are those of
    the step when the run was started: a later edit changes no result. So are `price`, in credits, and `weather`, the catalogue
    entry {name, location, files} that was chosen, or None. `rules` summarises the findings by rule
    (`validibot.runs.rules`); it is None until the step ends by a verdict. `taken_over` says where a step was
    executed that a retry took over: {run, image_digest, access}. `starts` counts the workers that began the
    step and did not let go of it, which means that they died.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps", db_index=False)
    step = models.ForeignKey(Step, on_delete=models.RESTRICT)
    order = models.PositiveIntegerField()
    name = models.CharField(max_length=150, blank=True)
    validator = models.CharField(max_length=60, blank=True)
    validator_version = models.CharField(max_length=40, blank=True)
    config_digest = models.CharField(max_length=64, blank=True)
    image = models.CharField(max_length=300, blank=True)
    weather = models.JSONField(null=True, blank=True)
    status = models.CharField(max_length=20, choices=StepStatus, default=StepStatus.PENDING)
    error = models.TextField(blank=True)
    outputs = models.JSONField(default=dict, blank=True)
    rules = models.JSONField(null=True, blank=True, editable=False)
    price = models.PositiveIntegerField(default=0, db_default=0)
    taken_over = models.JSONField(null=True, blank=True, editable=False)
    starts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["order"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "order"], name="step_run_order_is_unique")
        ]

    def __str__(self) -> str:
        return f"step {self.order} of {self.run_id}"

    @classmethod
    def of(cls, run: Run, step: Step, weather: dict[str, Any] | None = None) -> Self:
        """Return the unsaved row of a step, with what must not change after the start."""
        return cls(
            run=run,
            step=step,
            order=step.order,
            name=step.name,
            validator=step.validator.slug,
            validator_version=step.validator.version,
            config_digest=digest_of(step.config),
            image=step.validator.image,
            weather=weather,
            price=step.validator.credits,
        )

    @property
    def has_ended(self) -> bool:
        """Whether the step needs no worker any more; a failed one may have let its run go on."""
        return self.status in terminal(STEP)

    @property
    def taken_over_from(self) -> str:
        """The id of the run that executed the step, if this run took its result over."""
        return str(self.taken_over["run"]) if self.taken_over else ""

    @property
    def weather_name(self) -> str:
        return str(self.weather["name"]) if self.weather else ""

    def output_values(self) -> list[OutputValue]:
        """Return the outputs with the names that the validator's catalogue gives them."""
        return named_outputs(self.outputs, self.step.validator.outputs)


def named_outputs(outputs: dict[str, Any], catalogue: list[dict[str, Any]]) -> list[OutputValue]:
    """Return output values by slug in the order of a validator's catalogue, then all others.

    A table of values counts as its entries: `o.TABLE.ENTRY` in expressions. Those of `output_values`, the
    variables of a model, have their own names there, and so they have here.
    """
    entries = {entry["slug"]: entry for entry in catalogue}
    ordered = {slug: outputs[slug] for slug in entries if slug in outputs}
    values: list[OutputValue] = []
    for slug, value in (ordered | outputs).items():
        entry = entries.get(slug, {})
        label, unit = entry.get("label") or slug, entry.get("unit", "")
        if isinstance(value, dict):
            values += _entries(slug, value, label, unit)
        else:
            values.append(OutputValue(slug, label, value, unit))
    return values


def _entries(slug: str, table: dict[str, Any], label: str, unit: str) -> list[OutputValue]:
    if slug == MODEL_OUTPUTS:
        return [OutputValue(name, name, value, "") for name, value in table.items()]
    return [
        OutputValue(f"{slug}.{name}", f"{label}: {name}", value, unit)
        for name, value in table.items()
    ]


class IdempotencyKey(models.Model):
    """An `Idempotency-Key` and the run that it started.

    `fingerprint` is a digest of the request: it tells a repeated request from another one that uses
    the same key.
    """

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, db_index=False)
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
