"""Attempts to execute a container step, and the receipts of their callbacks."""

import uuid
from typing import Any, ClassVar

from django.db import models
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.utils import timezone

from validibot.runs.models.runs import Run, StepRun
from validibot.runs.states import ACTIVE_ATTEMPT, ATTEMPT, AttemptState, ReceiptStatus, sources


class Attempt(models.Model):
    """One try of a container step.

    `bundle_uri` is the folder that the execution may write to; `output_uri` the one object that
    counts as its output. Of the callback nonce only a keyed digest is kept. `execution` is the
    provider's name for it, `backend` the alias in EXECUTION_BACKENDS. `image` was asked for,
    `image_digest` pins the one that was executed, where the provider tells. `access` is what a custom
    validator had beside its files, {network, secrets: {name: which value, or its reference}}.

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
    access = models.JSONField(default=dict, blank=True, db_default={})
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
    """Annotate `image_digest` and `access` of the attempt that counts: the last, or of a retried run."""
    last = Attempt.objects.filter(step_run=models.OuterRef("pk")).order_by("-number")
    digest = models.Subquery(last.values("image_digest")[:1])
    executed_before = KT("taken_over__image_digest")
    access = models.Subquery(last.values("access")[:1])
    text = models.TextField()
    return step_runs.annotate(
        image_digest=Coalesce(digest, executed_before, models.Value(""), output_field=text),
        access=Coalesce(access, models.F("taken_over__access"), output_field=models.JSONField()),
    )


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
