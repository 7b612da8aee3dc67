"""State and image of an execution, read from what Cloud Run tells of it."""

from google.cloud import run_v2

from validibot.runs.backends.base import ExecutionState, Phase

# Cloud Run has no field for these causes, only the message of the failed task.
_TIMED_OUT = "The configured timeout was reached"
_OUT_OF_MEMORY = "The configured memory limit was reached"


def digest_of(execution: run_v2.Execution) -> str:
    """Return the digest in the execution's image reference, if it has one."""
    images = [container.image for container in execution.template.containers]
    return next((image.partition("@")[2] for image in images if "@" in image), "")


def values_of(execution: run_v2.Execution, name: str) -> set[str]:
    """Return the values that a variable has in the containers of an execution."""
    variables = (
        variable for container in execution.template.containers for variable in container.env
    )
    return {variable.value for variable in variables if variable.name == name}


def state_of(execution: run_v2.Execution) -> ExecutionState:
    """Return what the conditions of an execution say of it."""
    completed = next((c for c in execution.conditions if c.type_ == "Completed"), None)
    condition = completed or run_v2.Condition()
    return ExecutionState(
        phase=_phase(condition),
        execution=execution.name,
        image_digest=digest_of(execution),
        message=condition.message,
        out_of_memory=_OUT_OF_MEMORY in condition.message,
    )


def _phase(condition: run_v2.Condition) -> Phase:
    if condition.state == run_v2.Condition.State.CONDITION_SUCCEEDED:
        return Phase.SUCCEEDED
    if condition.state != run_v2.Condition.State.CONDITION_FAILED:
        return Phase.RUNNING
    if condition.execution_reason == run_v2.Condition.ExecutionReason.CANCELLED:
        return Phase.CANCELED
    return Phase.TIMED_OUT if _TIMED_OUT in condition.message else Phase.FAILED
