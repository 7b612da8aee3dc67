"""Which state may follow which, as tables; nothing here knows a model."""

from django.db.models import TextChoices


class RunStatus(TextChoices):
    """The life of a run; the last four are terminal."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    TIMED_OUT = "TIMED_OUT"


class StepStatus(TextChoices):
    """The life of a step of a run. SKIPPED: the run ended before it was started."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PASSED = "PASSED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    SKIPPED = "SKIPPED"


class AttemptState(TextChoices):
    """The life of one execution of a container step.

    UNKNOWN: the provider was called and may have accepted; never launched again, only looked for.
    """

    PENDING = "PENDING"
    DISPATCHING = "DISPATCHING"
    RUNNING = "RUNNING"
    UNKNOWN = "UNKNOWN"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    TIMED_OUT = "TIMED_OUT"


class ReceiptStatus(TextChoices):
    """The life of a callback's receipt."""

    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    REJECTED = "REJECTED"


class ErrorCategory(TextChoices):
    """Why a run failed: the data is bad (VALIDATION_FAILED), or we are."""

    NONE = ""
    VALIDATION_FAILED = "VALIDATION_FAILED"
    TIMEOUT = "TIMEOUT"
    OOM = "OOM"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    SYSTEM_ERROR = "SYSTEM_ERROR"


type Table = dict[str, frozenset[str]]

RUN: Table = {
    "PENDING": frozenset({"RUNNING", "FAILED", "CANCELED"}),
    "RUNNING": frozenset({"SUCCEEDED", "FAILED", "CANCELED", "TIMED_OUT"}),
    "SUCCEEDED": frozenset(),
    "FAILED": frozenset(),
    "CANCELED": frozenset(),
    "TIMED_OUT": frozenset(),
}
STEP: Table = {
    "PENDING": frozenset({"RUNNING", "SKIPPED"}),
    "RUNNING": frozenset({"PASSED", "FAILED", "CANCELED"}),
    "PASSED": frozenset(),
    "FAILED": frozenset(),
    "CANCELED": frozenset(),
    "SKIPPED": frozenset(),
}
ATTEMPT: Table = {
    "PENDING": frozenset({"DISPATCHING", "FAILED", "CANCELED"}),
    "DISPATCHING": frozenset({"RUNNING", "UNKNOWN", "FAILED", "CANCELED", "TIMED_OUT"}),
    "RUNNING": frozenset({"COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"}),
    "UNKNOWN": frozenset({"RUNNING", "COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"}),
    "COMPLETED": frozenset(),
    "FAILED": frozenset(),
    "CANCELED": frozenset(),
    "TIMED_OUT": frozenset(),
}
RECEIPT: Table = {
    "PROCESSING": frozenset({"COMPLETED", "REJECTED"}),
    "COMPLETED": frozenset(),
    "REJECTED": frozenset(),
}


def sources(table: Table, target: str) -> frozenset[str]:
    """Return the states from which `target` may be reached: the filter of a conditional update."""
    return frozenset(state for state, following in table.items() if target in following)


def terminal(table: Table) -> frozenset[str]:
    """Return the states that nothing follows."""
    return frozenset(state for state, following in table.items() if not following)


ACTIVE_ATTEMPT = frozenset(ATTEMPT) - terminal(ATTEMPT)


def public_state(status: str) -> str:
    """Project a run's status to what clients see: PENDING, RUNNING or COMPLETED."""
    return status if status in ("PENDING", "RUNNING") else "COMPLETED"


def public_result(status: str, category: str) -> str:
    """Project to PASS, FAIL (the data is bad), ERROR (we are), CANCELED, TIMED_OUT or UNKNOWN."""
    if status == RunStatus.FAILED:
        by_category = {ErrorCategory.VALIDATION_FAILED: "FAIL", ErrorCategory.TIMEOUT: "TIMED_OUT"}
        return by_category.get(ErrorCategory(category), "ERROR")
    results = {"SUCCEEDED": "PASS", "CANCELED": "CANCELED", "TIMED_OUT": "TIMED_OUT"}
    return results.get(status, "UNKNOWN")
