"""The parts of a version: steps with their assertions and files, and samples."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from validibot.core.echo import echo
from validibot.core.words import WORDS
from validibot.workflows import checks
from validibot.workflows.models.catalogue import (
    ValidatedModel,
    Validator,
    WeatherFile,
    WeatherUnknown,
)
from validibot.workflows.models.versions import VersionFrozen, Workflow
from validibot.workflows.scenarios import MAX_CHARACTERS, check_scenario


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


# Steps are counted from here.
FIRST_STEP = 1


class OnFailure(models.TextChoices):
    """The action after a step that found errors in the data.

    The run fails in both cases. A step that could not be executed always ends its run.
    """

    STOP = "stop", _("Stop")
    CONTINUE = "continue", _("Continue with the next step")


class StepSeverity(models.TextChoices):
    """Severity of the errors that a step finds in the data."""

    ERROR = "ERROR", _("Errors: the run fails")
    WARNING = "WARNING", _("Warnings: the run can pass")


class Step(VersionPart):
    """One validator applied in a workflow. Enabled steps run in order until one fails.

    `when` is an expression; the step is skipped where it is not true. `signals` [{name, expression}]
    are values that it adds to its outputs. `message` is shown if the step finds errors,
    `success_message` if it passes; both may show values. With `severity` WARNING the errors that the
    step finds in the data are warnings, so that it passes.
    `config` holds the settings of the validator (JSON Schema: {"schema": {...}}; EnergyPlus and
    FMU: the fields of their input model); it is checked against the validator's own schema.
    """

    workflow = models.ForeignKey(
        Workflow, on_delete=models.CASCADE, related_name="steps", db_index=False
    )
    order = models.PositiveIntegerField(validators=[MinValueValidator(FIRST_STEP)])
    name = models.CharField(max_length=150)
    description = models.TextField(blank=True)
    # RESTRICT: an organisation can be deleted with its validators and the steps that have them.
    validator = models.ForeignKey(Validator, on_delete=models.RESTRICT, related_name="steps")
    config = models.JSONField(default=dict, blank=True)
    is_enabled = models.BooleanField(default=True, db_default=True)
    when = models.TextField(blank=True, default="", db_default="")
    signals = models.JSONField(
        default=list, blank=True, db_default=[], validators=[checks.check_signals]
    )
    message = models.TextField(blank=True, default="", db_default="")
    success_message = models.TextField(blank=True, default="", db_default="")
    on_failure = models.CharField(
        max_length=10, choices=OnFailure, default=OnFailure.STOP, db_default=OnFailure.STOP
    )
    severity = models.CharField(
        max_length=10,
        choices=StepSeverity,
        default=StepSeverity.ERROR,
        db_default=StepSeverity.ERROR,
    )
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
        if not self.validator_id:
            return
        problems: dict[str, list[str]] = {}
        for check in (self._check_config, self._check_weather, self._check_expressions):
            try:
                check()
            except ValidationError as error:
                problems |= error.message_dict
        if problems:
            raise ValidationError(problems)

    def _check_expressions(self) -> None:
        for name in ("when", "message", "success_message"):
            if text := getattr(self, name):
                try:
                    checks.check_assertion(**{"expression": "true", name: text})
                except ValidationError as error:
                    raise ValidationError({name: error.messages}) from None

    def _check_config(self) -> None:
        checks.check_config(
            self.config,
            validator=self.validator.title,
            engine=self.validator.engine,
            validation_type=self.validator.validation_type,
            schema=self.validator.settings_schema,
        )

    def _check_weather(self) -> None:
        """Replace the name of the weather by the one that the catalogue has."""
        if not self.weather:
            return
        if not self.validator.takes_weather:
            raise ValidationError({"weather": f"{self.validator.title} takes no weather."})
        try:
            self.weather = WeatherFile.named(self.weather).name
        except WeatherUnknown as error:
            raise ValidationError({"weather": str(error)}) from None


class Severity(models.TextChoices):
    """Severity of a finding. Only an ERROR fails a step."""

    ERROR = "ERROR", WORDS["ERROR"]
    WARNING = "WARNING", WORDS["WARNING"]
    INFO = "INFO", WORDS["INFO"]


class Assertion(VersionPart):
    """A CEL expression that must be true of a step's document or outputs.

    `validibot.engines.scope` has the names that it can use.
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
        checks.check_assertion(
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
        if not self.step.validator_id:
            return  # a form with a faulty step says so there
        validator = self.step.validator
        checks.check_port(self.port_key, validator=validator.title, ports=validator.resource_ports)
        taken = StepFile.objects.filter(step=self.step, port_key=self.port_key)
        if taken.exclude(pk=self.pk).exists():
            raise ValidationError(
                {"port_key": f"The step has a file for port {echo(self.port_key)}."}
            )


class FmuState(models.TextChoices):
    """The state of the description of an FMU."""

    PENDING = "pending", "To be read"
    READ = "read", "Read"
    REFUSED = "refused", "Refused"


class FmuDescription(models.Model):
    """The variables of an FMU that is a file of a step; they are no part of the frozen version.

    `variables` has the fields of `ModelVariable` for each, `is_complete` says that it has them all,
    and `error` says why the FMU was refused. `requested_at` is when the reading was last asked for.
    `validibot.workflows.fmu` writes the row.
    """

    file = models.OneToOneField(
        StepFile, on_delete=models.CASCADE, primary_key=True, related_name="fmu"
    )
    state = models.CharField(max_length=10, choices=FmuState, default=FmuState.PENDING)
    error = models.TextField(blank=True)
    variables = models.JSONField(default=list)
    is_complete = models.BooleanField(default=True)
    requested_at = models.DateTimeField(default=timezone.now, db_default=Now())

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["requested_at"], condition=Q(state=FmuState.PENDING), name="fmu_to_be_read"
            )
        ]

    def __str__(self) -> str:
        return f"{self.file}: {self.state}"


class Sample(models.Model):
    """A small file to try a workflow with; `passes` is whether its run should pass.

    `metadata` are the inputs of its run (object of texts).
    """

    workflow = models.ForeignKey(
        Workflow, on_delete=models.CASCADE, related_name="samples", db_index=False
    )
    title = models.CharField(max_length=150)
    filename = models.CharField(max_length=255)
    content = models.BinaryField()
    passes = models.BooleanField()
    metadata = models.JSONField(default=dict, blank=True, db_default={})

    class Meta:
        ordering: ClassVar = ["-passes", "filename"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow", "filename"], name="sample_filename_is_unique"
            )
        ]

    def __str__(self) -> str:
        return self.filename
