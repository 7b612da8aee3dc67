"""Stop a run, whatever it is doing."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from validibot.runs import queue
from validibot.runs.events import record
from validibot.runs.evidence import record_evidence
from validibot.runs.findings import ending, skip_steps
from validibot.runs.models import Attempt, Run
from validibot.runs.states import (
    ACTIVE_ATTEMPT,
    RUN,
    AttemptState,
    ErrorCategory,
    RunStatus,
    sources,
)


def cancel_run(run_id: UUID, *, actor: str) -> bool:
    """Cancel a run that has not ended; return whether it was cancelled now.

    What a worker or a validator is still doing for it comes to nothing: their writes find the run
    ended.
    """
    now = timezone.now()
    with transaction.atomic():
        running = Run.objects.filter(pk=run_id, status__in=sources(RUN, RunStatus.CANCELED))
        if not running.update(
            status=RunStatus.CANCELED, ended_at=now, lease_token=None, lease_expires_at=None
        ):
            return False
        skip_steps(run_id, now=now)
        for attempt in Attempt.objects.filter(
            step_run__run_id=run_id, state__in=ACTIVE_ATTEMPT
        ).select_for_update(of=("self",), no_key=True):
            attempt.move(AttemptState.CANCELED)
            queue.enqueue_cancel(attempt.pk)
        record(run_id, ending(RunStatus.CANCELED, ErrorCategory.NONE, actor=actor))
        record_evidence(run_id)
    return True
