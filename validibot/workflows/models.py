"""What can be run: versioned workflows of ordered steps, and the validators that steps use."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from validibot.accounts.models import Organisation, Project
from validibot.workflows.scenarios import MAX_CHARACTERS, check_scenario


class Validator(models.Model):
    """A catalogue entry, synced from a manifest.

    `engine` names an in-process engine; a container validator has `image` and `job` instead.
    JSON fields hold what the manifest says, in its shape: `accepts` [{extension, mime_type}],
    `ports` [{port_key, role|type, name, channel, required, default}], `outputs`
    [{slug, label, unit, path}], `command` [str].
    """

    slug = models.SlugField(max_length=60)
    version = models.CharField(max_length=40)
    title = models.CharField(max_length=150)
    description = models.TextField(blank=True)
    validation_type = models.CharField(max_length=40)
    engine = models.CharField(max_length=60, blank=True)
    image = models.CharField(max_length=300, blank=True)
    job = models.CharField(max_length=63, blank=True)
    command = models.JSONField(default=list, blank=True)
    accepts = models.JSONField(default=list, blank=True)
    ports = models.JSONField(default=list, blank=True)
    outputs = models.JSONField(default=list, blank=True)
    timeout_seconds = models.PositiveIntegerField(default=600)
    memory_mb = models.PositiveIntegerField(default=512)
    is_active = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["slug", "version"], name="validator_version_is_unique")
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.version}"

    @property
    def in_process(self) -> bool:
        return bool(self.engine)


class Workflow(models.Model):
    """One version of a workflow: an ordered list of steps. Old versions stay runnable."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="workflows"
    )
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.SET_NULL, related_name="workflows"
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    slug = models.SlugField(max_length=60)
    version = models.PositiveIntegerField(default=1)
    name = models.CharField(max_length=150)
    description = models.TextField(blank=True)
    is_active = models.BooleanField(default=True)
    constants = models.JSONField(default=list, blank=True)
    success_message = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name", "-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "slug", "version"], name="workflow_version_is_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class Step(models.Model):
    """One validator applied in a workflow.

    `config` is what the validator is told (JSON Schema: {"schema": {...}}; EnergyPlus and FMU:
    their input model's fields). Steps run in order until one fails.
    """

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="steps")
    order = models.PositiveIntegerField()
    name = models.CharField(max_length=150)
    description = models.TextField(blank=True)
    validator = models.ForeignKey(Validator, on_delete=models.PROTECT, related_name="steps")
    config = models.JSONField(default=dict, blank=True)
    scenario = models.CharField(
        max_length=MAX_CHARACTERS,
        blank=True,
        default="",
        validators=[check_scenario],
        help_text="How a mocked validator behaves in this step; real ones pass it over.",
    )

    class Meta:
        ordering: ClassVar = ["order"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workflow", "order"], name="step_order_is_unique")
        ]

    def __str__(self) -> str:
        return self.name


class Severity(models.TextChoices):
    """How bad a finding is. Only an ERROR fails a step."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"


class Assertion(models.Model):
    """A CEL expression that must be true of a step's document or outputs.

    Names in scope: `payload` (the submitted document), `output` (this step's outputs), `steps`
    (outputs of earlier steps by step order, as `steps["1"].slug`), `c` (the workflow's constants).
    """

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="assertions")
    order = models.PositiveIntegerField()
    expression = models.TextField()
    when = models.TextField(blank=True)
    severity = models.CharField(max_length=10, choices=Severity, default=Severity.ERROR)
    message = models.TextField(blank=True)
    success_message = models.TextField(blank=True)
    path = models.CharField(max_length=500, blank=True)
    notes = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["order"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["step", "order"], name="assertion_order_is_unique")
        ]

    def __str__(self) -> str:
        return self.expression[:80]


class StepFile(models.Model):
    """A file that a step brings along (weather, schema), stored once under the data root."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="files")
    port_key = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    type = models.CharField(max_length=100)
    uri = models.CharField(max_length=1000)
    storage_version = models.CharField(max_length=512)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["step", "port_key", "name"], name="step_file_is_unique")
        ]

    def __str__(self) -> str:
        return self.name


class Sample(models.Model):
    """A small file to try a workflow with; `passes` says how its run is meant to end."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="samples")
    title = models.CharField(max_length=150)
    filename = models.CharField(max_length=255)
    content = models.BinaryField()
    passes = models.BooleanField()

    class Meta:
        ordering: ClassVar = ["-passes", "filename"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow", "filename"], name="sample_filename_is_unique"
            )
        ]

    def __str__(self) -> str:
        return self.filename


def latest_versions(queryset: "models.QuerySet[Workflow, Any]") -> "models.QuerySet[Workflow, Any]":
    """Keep the newest version of each slug of an organisation (PostgreSQL's DISTINCT ON)."""
    newest = queryset.order_by("organisation_id", "slug", "-version").distinct(
        "organisation_id", "slug"
    )
    return Workflow.objects.filter(pk__in=newest.values("pk")).order_by("name")
