"""What a queue carries: the path of a task and its arguments."""

from typing import Any

from django.tasks import Task, TaskResult, TaskResultStatus
from django.utils import timezone


def as_call(task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what `validibot.dispatch.receive` understands."""
    return {"task": task.module_path, "args": list(args), "kwargs": dict(kwargs)}


def ready_result[**P, R](
    task: Task[P, R], args: list[Any], kwargs: dict[str, Any], *, pk: str, backend: str
) -> TaskResult[P, R]:
    """Return what Django's `enqueue` answers for a task that waits."""
    return TaskResult(
        task=task,
        id=pk,
        status=TaskResultStatus.READY,
        enqueued_at=timezone.now(),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=list(args),
        kwargs=dict(kwargs),
        backend=backend,
        errors=[],
        worker_ids=[],
    )
