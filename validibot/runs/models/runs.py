"""Rows of a run while it is under way: the run, its steps, attempts and receipts."""

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from validibot.accounts.models import Organisation
from validibot.engines.scope import MODEL_OUTPUTS
from validibot.runs.states import (
    ACTIVE_ATTEMPT,
    ATTEMPT,
    STEP,
    AttemptState,
    ErrorCategory,
    ReceiptStatus,
    RunStatus,
    StepStatus,
    public_result,
    public_state,
    sources,
    terminal,
)
from validibot.submissions.models import Submission
from validibot.workflows.models import Step, Workflow, WorkflowSchedule
from validibot.workflows.scenarios import MAX_CHARACTERS


class Run(models.Model):
    """One submission on its way through one version of a workflow.

    A worker holds the run while `lease_expires_at` lies ahead and proves it by `lease_token`.
    `enqueued_at` is when the run last became ready for a worker; it also names its queue entry, so
    that one moment has one entry. `checked_at` is when the sweep last looked at it. `scenario` is
    how its mocked validators are to behave. `rerun_of` is the run whose submission it repeats, `schedule`
    the one that started it.
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
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    source = models.CharField(max_length=20, choices=Source, default=Source.API)
    scenario = models.CharField(max_length=MAX_CHARACTERS, blank=True, default="")
    rerun_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="reruns"
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
    error_category = models.CharField(max_length=20, choices=ErrorCategory, blank=True, default="")
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    enqueued_at = models.DateTimeField(null=True, blank=True)
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
    # Whether somebody in the organisation had a preference of notifications then.
    may_be_watched: bool = True

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["organisation", "-created_at"]),
            # Those of the filters of lists: by workflow, and by result.
            models.Index(fields=["workflow", "-created_at"], name="runs_of_workflow"),
            models.Index(
                fields=["schedule", "-created_at"],
                condition=models.Q(schedule__isnull=False),
                name="runs_of_schedule",
            ),
            models.Index(
                fields=["organisation", "status", "error_category", "-created_at"],
                name="runs_by_result",
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
    the step when the run was started: a later edit changes no result. So is `weather`, the catalogue
    entry {name, location, files} that was chosen, or None. `rules` summarises the findings by rule
    (`validibot.runs.rules`); it is None until the step ends. `starts` counts the workers that began the
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
        )

    @property
    def has_ended(self) -> bool:
        """Whether the step needs no worker any more; a failed one may have let its run go on."""
        return self.status in terminal(STEP)

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


class Attempt(models.Model):
    """One try of a container step.

    `bundle_uri` is the folder that the execution may write to; `output_uri` the one object that
    counts as its output. Of the callback nonce only a keyed digest is kept. `execution` is the
    provider's name for it, `backend` the alias in EXECUTION_BACKENDS. `image` was asked for,
    `image_digest` pins the one that was executed, where the provider tells.

    An attempt that ends while its execution may go on has `cancel_requested_at`; the sweep cancels
    the execution until `execution_ended_at` is known. `checked_at` is when the sweep last looked.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    step_run = models.ForeignKey(
        StepRun, on_delete=models.CASCADE, related_name="attempts", db_index=False
    )
    number = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=20, choices=AttemptState, default=AttemptState.PENDING)
    backend = models.CharField(max_length=60, default="default")
    image = models.CharField(max_length=300, blank=True)
    image_digest = models.CharField(max_length=100, blank=True, default="")
    execution = models.CharField(max_length=500, blank=True)
    nonce_digest = models.CharField(max_length=64)
    bundle_uri = models.CharField(max_length=1000)
    input_uri = models.CharField(max_length=1000)
    input_sha256 = models.CharField(max_length=64, blank=True)
    output_uri = models.CharField(max_length=1000)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    launched_at = models.DateTimeField(null=True, blank=True)
    called_back_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    timeout_at = models.DateTimeField()
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    execution_ended_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["step_run", "number"], name="attempt_number_is_unique"),
            models.UniqueConstraint(
                fields=["step_run"],
                condition=models.Q(state__in=sorted(ACTIVE_ATTEMPT)),
                name="one_active_attempt_per_step",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["checked_at"],
                condition=models.Q(state__in=sorted(ACTIVE_ATTEMPT)),
                name="active_attempts",
            ),
            models.Index(
                fields=["checked_at"],
                condition=models.Q(cancel_requested_at__isnull=False, execution_ended_at=None),
                name="executions_to_cancel",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def callback_id(self) -> str:
        return f"execution-attempt-{self.id}"

    def advance(self, target: AttemptState, **values: Any) -> bool:
        """Go on to `target` and set `values`, if the table allows it from where the row is by now.

        Returns whether it did; of two that try to leave the same state one succeeds. Attempts are
        ended by `validibot.runs.lifecycle` alone.
        """
        assert target in ACTIVE_ATTEMPT
        movable = Attempt.objects.filter(pk=self.pk, state__in=sources(ATTEMPT, target))
        if not movable.update(state=target, **values):
            return False
        self.state = target
        return True


def with_images(step_runs: models.QuerySet[StepRun]) -> models.QuerySet[StepRun]:
    """Annotate `image_digest` of the attempt that counts: the last one, if there is any."""
    last = Attempt.objects.filter(step_run=models.OuterRef("pk")).order_by("-number")
    digest = models.Subquery(last.values("image_digest")[:1])
    return step_runs.annotate(image_digest=Coalesce(digest, models.Value("")))


class CallbackReceipt(models.Model):
    """The receipt of a callback.

    Unique on `callback_id`: however often the callback is delivered, it is applied once, by the
    holder of `claim_token`.
    """

    callback_id = models.CharField(max_length=255, unique=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="receipts")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="receipts")
    result_uri = models.CharField(max_length=1000)
    status = models.CharField(
        max_length=20, choices=ReceiptStatus, default=ReceiptStatus.PROCESSING
    )
    error = models.TextField(blank=True)
    deliveries = models.PositiveIntegerField(default=1)
    claim_token = models.UUIDField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.callback_id


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
