"""What is put on the queue. Arguments are ids; everything may be delivered more than once."""

import logging
from typing import Any
from uuid import UUID

from django.tasks import TaskContext, task

from validibot.dispatch import TryLater
from validibot.runs import execute

logger = logging.getLogger(__name__)


@task(takes_context=True)
def execute_run(context: TaskContext[Any, Any], run_id: str) -> None:
    try:
        execute.execute(UUID(run_id), task=context.task_result.id)
    except execute.Busy as error:
        raise TryLater(f"Another worker holds run {run_id}.") from error


def enqueue_run(run_id: UUID) -> None:
    """Put a run on the queue. Called on commit: when it fails, the sweep finds the run."""
    execute_run.enqueue(str(run_id))
