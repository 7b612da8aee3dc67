"""Versioned workflows of ordered steps, and the catalogue of validators that steps use.

A version is frozen by its first run: its steps, assertions, files and texts never change again, so
results keep their meaning. Saving or deleting a part of a frozen version raises VersionFrozen;
`versions.edited` makes the next version instead. Every part is validated when it is saved, whether
the admin site, an import or a program saves it.
"""

from validibot.workflows.models.ai import (
    AiEndpoint,
    AiUsage,
    ModelEndpoint,
    MonthlyAiUsage,
    OrganisationAiEndpoint,
    OwnAiUsage,
    check_ai_key,
)
from validibot.workflows.models.catalogue import (
    WEATHER_TYPE,
    JobState,
    ValidatedModel,
    Validator,
    ValidatorSample,
    ValidatorSecret,
    WeatherFile,
    WeatherUnknown,
)
from validibot.workflows.models.images import RemovedMedia, WorkflowImage
from validibot.workflows.models.parts import (
    FIRST_STEP,
    Assertion,
    FmuDescription,
    FmuState,
    OnFailure,
    Sample,
    Severity,
    Step,
    StepFile,
    StepSeverity,
    VersionPart,
)
from validibot.workflows.models.schedules import WorkflowSchedule
from validibot.workflows.models.sharing import LaunchLink, WorkflowBadge
from validibot.workflows.models.versions import (
    MAX_RETENTION_DAYS,
    VersionFrozen,
    Workflow,
    latest_versions,
)

__all__ = [
    "FIRST_STEP",
    "MAX_RETENTION_DAYS",
    "WEATHER_TYPE",
    "AiEndpoint",
    "AiUsage",
    "Assertion",
    "FmuDescription",
    "FmuState",
    "JobState",
    "LaunchLink",
    "ModelEndpoint",
    "MonthlyAiUsage",
    "OnFailure",
    "OrganisationAiEndpoint",
    "OwnAiUsage",
    "RemovedMedia",
    "Sample",
    "Severity",
    "Step",
    "StepFile",
    "StepSeverity",
    "ValidatedModel",
    "Validator",
    "ValidatorSample",
    "ValidatorSecret",
    "VersionFrozen",
    "VersionPart",
    "WeatherFile",
    "WeatherUnknown",
    "Workflow",
    "WorkflowBadge",
    "WorkflowImage",
    "WorkflowSchedule",
    "check_ai_key",
    "latest_versions",
]
