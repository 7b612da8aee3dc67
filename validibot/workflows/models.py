"""Versioned workflows of ordered steps, and the catalogue of validators that steps use.

A version is frozen by its first run: its steps, assertions, files and texts never change again, so
results keep their meaning. Saving or deleting a part of a frozen version raises VersionFrozen;
`versions.edited` makes the next version instead. Every part is validated when it is saved, whether
the admin site, a seed or a program saves it.
"""

import uuid
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from validibot.accounts.models import Organisation, Project
from validibot.workflows import rules
from validibot.workflows.scenarios import MAX_CHARACTERS, check_scenario

# The type of a resource port that takes weather (validator.toml).
WEATHER_TYPE = "energyplus_weather"


class VersionFrozen(ValidationError):
    """The version has runs, so it cannot be changed any more."""

    def __init__(self, workflow: "Workflow") -> None:
        super().__init__(
            f"{workflow.name} version {workflow.version} has runs and cannot be changed. "
            "Edit a new version of it.",
            code="version_frozen",
        )


class ValidatedModel(models.Model):
    """A row that is validated on every save; relations are left to the database."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        relations = {field.name for field in self._meta.concrete_fields if field.is_relation}
        self.full_clean(exclude=relations, validate_unique=False, validate_constraints=False)
        super().save(*args, **kwargs)


class Validator(ValidatedModel):
    """A catalogue entry, synced from a manifest.

    `engine` names an in-process engine; a container validator has `image` and `job` instead.
    JSON fields hold the manifest's tables in its shape: `accepts` [{extension, mime_type}],
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
    accepts = models.JSONField(default=list, blank=True, validators=[rules.check_file_types])
    ports = models.JSONField(default=list, blank=True)
    outputs = models.JSONField(default=list, blank=True)
    accepts_further_files = models.BooleanField(default=False)
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

    @property
    def resource_ports(self) -> list[str]:
        """The keys of the ports that take a file of the step."""
        return [port["port_key"] for port in self.ports if port["channel"] == "resource_files"]

    @property
    def takes_weather(self) -> bool:
        return any(port.get("type") == WEATHER_TYPE for port in self.ports)


class WeatherUnknown(Exception):
    """The catalogue has no weather of this name; the message lists the nearest names."""


class WeatherFile(models.Model):
    """A catalogue entry of weather, for validators that have a port of type `WEATHER_TYPE`.

    `name` is the stem of its EPW file, `location` the place that the file names. `files` lists the EPW
    and, if there is one, the DDY as [{port_key, type, name, uri, storage_version, size_bytes,
    sha256}]; they are stored once by digest (see `validibot.workflows.weather`).
    """

    name = models.CharField(max_length=150, unique=True)
    location = models.CharField(max_length=200, blank=True)
    files = models.JSONField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the entry of a name, with or without `.epw`. Raises WeatherUnknown."""
        wanted = name.strip().casefold().removesuffix(".epw")
        names = {each.casefold(): each for each in cls.objects.values_list("name", flat=True)}
        if wanted in names:
            return cls.objects.get(name=names[wanted])
        inside = [each for each in names if wanted and wanted in each]
        near = [*inside, *get_close_matches(wanted, names, n=5, cutoff=0.3), *sorted(names)]
        listed = ", ".join(names[each] for each in list(dict.fromkeys(near))[:5]) or "none"
        raise WeatherUnknown(
            f"There is no weather {name[:80]!r} in the catalogue. The nearest names: {listed}."
        )


class Workflow(ValidatedModel):
    """One version of a workflow: an ordered list of steps. Old versions stay runnable."""

    # Fields that may change after a run because they do not affect the meaning of results.
    EDITABLE_WHEN_FROZEN: ClassVar = frozenset(
        {"project", "author", "is_active", "frozen_at", "updated_at"}
    )

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="workflows", db_index=False
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
    constants = models.JSONField(default=list, blank=True, validators=[rules.check_constants])
    success_message = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    frozen_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["name", "-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "slug", "version"], name="workflow_version_is_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @transaction.atomic
    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the version; raise VersionFrozen if that would change a frozen one."""
        stored = None if self._state.adding else Workflow.locked(self.pk)
        if stored and stored.is_frozen and self._differs_from(stored):
            raise VersionFrozen(stored)
        super().save(*args, **kwargs)

    @property
    def is_frozen(self) -> bool:
        return self.frozen_at is not None

    @classmethod
    def locked(cls, pk: int) -> "Workflow | None":
        """Return the version, locked until the transaction ends so that a first run waits."""
        return cls.objects.select_for_update().filter(pk=pk).first()

    def _differs_from(self, stored: "Workflow") -> bool:
        return any(
            getattr(self, field.attname) != getattr(stored, field.attname)
            for field in self._meta.concrete_fields
            if field.name not in self.EDITABLE_WHEN_FROZEN
        )


class VersionPart(ValidatedModel):
    """A row that belongs to a version of a workflow and is frozen with it."""

    class Meta:
        abstract = True

    @transaction.atomic
    def save(self, *args: Any, **kwargs: Any) -> None:
        self._require_unfrozen()
        super().save(*args, **kwargs)

    @transaction.atomic
    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self._require_unfrozen()
        return super().delete(*args, **kwargs)

    def workflow_id_of_part(self) -> int:
        raise NotImplementedError

    def _require_unfrozen(self) -> None:
        workflow = Workflow.locked(self.workflow_id_of_part())
        if workflow and workflow.is_frozen:
            raise VersionFrozen(workflow)


class Step(VersionPart):
    """One validator applied in a workflow. Steps run in order until one fails.

    `config` holds the settings of the validator (JSON Schema: {"schema": {...}}; EnergyPlus and
    FMU: the fields of their input model); it is checked against the validator's own schema.
    """

    workflow = models.ForeignKey(
        Workflow, on_delete=models.CASCADE, related_name="steps", db_index=False
    )
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
        help_text="How a mocked validator behaves in this step; real validators ignore it.",
    )
    weather = models.CharField(
        max_length=150,
        blank=True,
        default="",
        db_default="",
        help_text="The weather of this step, by its name in the catalogue, unless a launch names another.",
    )

    class Meta:
        ordering: ClassVar = ["order"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workflow", "order"], name="step_order_is_unique")
        ]

    def __str__(self) -> str:
        return self.name

    def workflow_id_of_part(self) -> int:
        return self.workflow_id

    def clean(self) -> None:
        if self.validator_id:
            rules.check_config(
                self.config,
                validator=self.validator.title,
                engine=self.validator.engine,
                validation_type=self.validator.validation_type,
            )
        if self.weather:
            if not self.validator.takes_weather:
                raise ValidationError({"weather": f"{self.validator.title} takes no weather."})
            try:
                self.weather = WeatherFile.named(self.weather).name
            except WeatherUnknown as error:
                raise ValidationError({"weather": str(error)}) from None


class Severity(models.TextChoices):
    """Severity of a finding. Only an ERROR fails a step."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"


class Assertion(VersionPart):
    """A CEL expression that must be true of a step's document or outputs.

    Names in scope: `payload` (the submitted document), `output` (this step's outputs), `steps`
    (outputs of earlier steps by step order, as `steps["1"].slug`), `c` (the workflow's constants).
    """

    step = models.ForeignKey(
        Step, on_delete=models.CASCADE, related_name="assertions", db_index=False
    )
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

    def workflow_id_of_part(self) -> int:
        return self.step.workflow_id

    def clean(self) -> None:
        rules.check_assertion(
            expression=self.expression,
            when=self.when,
            message=self.message,
            success_message=self.success_message,
        )


class StepFile(VersionPart):
    """A file that belongs to a step (weather, schema), stored once below the data root."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="files", db_index=False)
    port_key = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    type = models.CharField(max_length=100)
    uri = models.CharField(max_length=1000)
    storage_version = models.CharField(max_length=512)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["step", "port_key"],
                name="one_file_per_port",
                violation_error_message="The step has a file for this port already.",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def workflow_id_of_part(self) -> int:
        return self.step.workflow_id

    def clean(self) -> None:
        validator = self.step.validator
        rules.check_port(self.port_key, validator=validator.title, ports=validator.resource_ports)
        taken = StepFile.objects.filter(step=self.step, port_key=self.port_key)
        if taken.exclude(pk=self.pk).exists():
            raise ValidationError({"port_key": f"The step has a file for port {self.port_key!r}."})


class Sample(models.Model):
    """A small file to try a workflow with; `passes` is whether its run should pass."""

    workflow = models.ForeignKey(
        Workflow, on_delete=models.CASCADE, related_name="samples", db_index=False
    )
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
    """Return the newest version of each slug of an organisation (PostgreSQL's DISTINCT ON)."""
    newest = queryset.order_by("organisation_id", "slug", "-version").distinct(
        "organisation_id", "slug"
    )
    return Workflow.objects.filter(pk__in=newest.values("pk")).order_by("name")
