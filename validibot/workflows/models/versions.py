"""One version of a workflow, which its first run freezes."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone

from validibot.accounts.models import Organisation, Project
from validibot.workflows import checks
from validibot.workflows.inputs import check_input_schema
from validibot.workflows.models.catalogue import ValidatedModel

MAX_RETENTION_DAYS = 36_500
_RETENTION = [MinValueValidator(1), MaxValueValidator(MAX_RETENTION_DAYS)]


class VersionFrozen(ValidationError):
    """The version has runs, so it cannot be changed any more."""

    def __init__(self, workflow: "Workflow") -> None:
        super().__init__(
            f"{workflow.name} version {workflow.version} has runs and cannot be changed. "
            "Edit a new version of it.",
            code="version_frozen",
        )


class VersionManager(models.Manager["Workflow"]):
    """Finds versions of workflows, without the hidden workflows of trials (see `trials`)."""

    def get_queryset(self) -> "models.QuerySet[Workflow]":
        return super().get_queryset().filter(is_trial=False)


class Workflow(ValidatedModel):
    """One version of a workflow: an ordered list of steps. Old versions stay runnable."""

    # The same in all versions of a workflow (see editing.set_properties).
    SHARED_PROPERTIES: ClassVar = ("input_retention_days", "result_retention_days")
    # Fields that may change after a run because they do not affect the meaning of results.
    EDITABLE_WHEN_FROZEN: ClassVar = frozenset(
        {
            *("project", "author", "is_active", "frozen_at", "revision", "updated_at"),
            *SHARED_PROPERTIES,
        }
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
    is_trial = models.BooleanField(default=False, db_default=False, editable=False)
    constants = models.JSONField(default=list, blank=True, validators=[checks.check_constants])
    success_message = models.TextField(blank=True)
    accepted_types = models.JSONField(
        default=list,
        blank=True,
        db_default=[],
        validators=[checks.check_extensions],
        help_text="Extensions that a submission may have. Empty: those that the first step accepts.",
    )
    # A text, not an object: PostgreSQL would lose the order of the inputs.
    input_schema = models.TextField(
        blank=True,
        default="",
        db_default="",
        validators=[check_input_schema],
        help_text="JSON Schema of the metadata that a launch gives.",
    )
    # Days after the end of a run; None: as long as the operator keeps them (RETENTION_DAYS).
    input_retention_days = models.PositiveIntegerField(null=True, blank=True, validators=_RETENTION)
    result_retention_days = models.PositiveIntegerField(
        null=True, blank=True, validators=_RETENTION
    )
    # Counts the edits of this version, so that an edit of something older is noticed.
    revision = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    frozen_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[VersionManager] = VersionManager()
    with_trials: ClassVar["models.Manager[Workflow]"] = models.Manager()

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
        return cls.with_trials.select_for_update().filter(pk=pk).first()

    def _differs_from(self, stored: "Workflow") -> bool:
        return any(
            getattr(self, field.attname) != getattr(stored, field.attname)
            for field in self._meta.concrete_fields
            if field.name not in self.EDITABLE_WHEN_FROZEN
        )


def latest_versions(queryset: "models.QuerySet[Workflow, Any]") -> "models.QuerySet[Workflow, Any]":
    """Return the newest version of each slug of an organisation (PostgreSQL's DISTINCT ON)."""
    newest = queryset.order_by("organisation_id", "slug", "-version").distinct(
        "organisation_id", "slug"
    )
    return Workflow.objects.filter(pk__in=newest.values("pk")).order_by("name")
