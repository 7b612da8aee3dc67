"""Begin a run: its row, its steps, its place in the queue."""

from django.db import transaction
from django.utils import timezone

from validibot.accounts.models import User
from validibot.runs.events import record
from validibot.runs.models import Run, RunEvent, StepRun
from validibot.runs.queue import enqueue_run
from validibot.submissions.models import Submission
from validibot.workflows.models import Workflow
from validibot.workflows.versions import freeze


def start_run(
    *,
    workflow: Workflow,
    submission: Submission,
    user: User | None,
    source: str,
    scenario: str = "",
) -> Run:
    """Make a run of `workflow` on a saved submission; it is enqueued on commit.

    The first run freezes the version: its steps are those of every later run.
    """
    workflow = freeze(workflow)
    run = Run(
        organisation=workflow.organisation,
        workflow=workflow,
        submission=submission,
        user=user,
        source=source,
        scenario=scenario,
        enqueued_at=timezone.now(),
    )
    actor = user.email if user else ""
    with transaction.atomic():
        run.save(force_insert=True)
        StepRun.objects.bulk_create(
            StepRun(run=run, step=step, order=step.order) for step in workflow.steps.all()
        )
        record(run.pk, RunEvent(kind="created", actor=actor), RunEvent(kind="queued"))
        enqueue_run(run.pk)
    return run
