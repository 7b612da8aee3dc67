"""Results of a run: findings, artifacts, events, its evidence, and links that show it."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from validibot.runs.models.runs import Run, StepRun
from validibot.workflows.models import Assertion, Severity


class Finding(models.Model):
    """One finding of a run.

    `path` is where in the document (JSON Pointer, XPath, object name); `line` and `column` count
    from 1.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="findings", db_index=False)
    step_run = models.ForeignKey(
        StepRun, on_delete=models.CASCADE, related_name="findings", db_index=False
    )
    order = models.PositiveIntegerField()
    severity = models.CharField(max_length=10, choices=Severity)
    code = models.CharField(max_length=100, blank=True)
    message = models.TextField()
    path = models.TextField(blank=True)
    line = models.PositiveIntegerField(null=True, blank=True)
    column = models.PositiveIntegerField(null=True, blank=True)
    assertion = models.ForeignKey(Assertion, null=True, blank=True, on_delete=models.SET_NULL)

    class Meta:
        ordering: ClassVar = ["step_run_id", "order"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["step_run", "order"], name="finding_order_is_unique")
        ]
        # In the order of the API's pages.
        indexes: ClassVar = [models.Index(fields=["run", "id"], name="findings_of_run")]

    def __str__(self) -> str:
        return f"{self.severity} {self.message[:80]}"


class Artifact(models.Model):
    """A file that a step produced, kept where the validator wrote it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="artifacts")
    step_run = models.ForeignKey(
        StepRun, on_delete=models.CASCADE, related_name="artifacts", db_index=False
    )
    name = models.CharField(max_length=255)
    type = models.CharField(max_length=100)
    mime_type = models.CharField(max_length=100, blank=True)
    uri = models.CharField(max_length=1000)
    storage_version = models.CharField(max_length=512)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["step_run_id", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["step_run", "name"], name="artifact_name_is_unique")
        ]

    def __str__(self) -> str:
        return self.name


class RunEvent(models.Model):
    """One moment in the life of a run: its timeline in UI and API.

    `kind`, of a run: created, held, queued, delivered, resumed, and at its end passed, failed, error,
    canceled or timed_out; of a step: step_started, step_passed, step_failed, step_canceled,
    step_skipped, step_taken_over; of an attempt: launched, running, launch_unanswered, launch_failed, called_back,
    output_found. `actor` caused it (a user's email address, `queue`, `worker`, `validator`,
    `reconcile`); `data` holds ids.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    step_run = models.ForeignKey(StepRun, null=True, blank=True, on_delete=models.CASCADE)
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=40)
    actor = models.CharField(max_length=255, blank=True)
    message = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.run_id}"


class RunEvidence(models.Model):
    """The evidence of a run, written once when it ends (see `validibot.runs.evidence`).

    `manifest` has the published format; `contents` lists what the run was given, did and found.
    Each has the SHA-256 of its canonical JSON beside it.
    """

    run = models.OneToOneField(
        Run, primary_key=True, on_delete=models.CASCADE, related_name="evidence"
    )
    manifest = models.JSONField()
    manifest_sha256 = models.CharField(max_length=64)
    contents = models.JSONField()
    contents_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "run evidence"

    def __str__(self) -> str:
        return self.contents_sha256

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ValueError("Evidence is written once and cannot be changed.")
        super().save(*args, **kwargs)


class RunShare(models.Model):
    """A link that shows a run without an account, until `expires_at` or `revoked_at`.

    Only a keyed digest of its token is kept. `opened` counts the visits.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="shares")
    token_digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    opened = models.PositiveIntegerField(default=0)
    last_opened_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"link to run {self.run_id}"

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()
