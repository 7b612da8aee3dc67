"""Walk the steps of a run that we hold."""

import logging
from uuid import UUID

from django.db import DatabaseError, transaction
from django.utils import timezone

from validibot.core.logging import bound_run
from validibot.core.storage import ObjectNotFound, ObjectTooLarge, StorageError
from validibot.engines import Document, EngineError, Problem, get_engine
from validibot.runs.events import record
from validibot.runs.execute.lease import Lease, claim, kept_alive
from validibot.runs.findings import (
    Moved,
    Verdict,
    apply_assertions,
    broken,
    close_step,
    finding,
    judged,
)
from validibot.runs.models import Run, RunEvent, StepRun
from validibot.runs.states import STEP, StepStatus, sources
from validibot.submissions import content

# What an in-process step may hold in memory; larger documents are a finding.
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
_ACTOR = "worker"

logger = logging.getLogger(__name__)


def execute(run_id: UUID, *, task: str = "") -> bool:
    """Go on with a run until it ends or waits for a validator; return whether it ended here.

    Raises Busy while another worker holds it, and what storage and database raise when they are
    out of reach: the same call may then be repeated.
    """
    lease = claim(run_id)
    if lease is None:
        return False
    with bound_run(run_id), kept_alive(lease):
        try:
            return Walk(lease, task=task).go()
        except Moved:
            logger.info("run %s was ended or taken over meanwhile", run_id)
            return False


class Walk:
    """One worker's way through a run."""

    def __init__(self, lease: Lease, *, task: str) -> None:
        self.lease = lease
        self.run = Run.objects.select_related("workflow", "organisation", "submission").get(
            pk=lease.run_id
        )
        self.steps = list(
            StepRun.objects.filter(run=self.run)
            .select_related("step__validator")
            .prefetch_related("step__assertions")
        )
        # Equal only for the worker that made it RUNNING: a later one finds an earlier time.
        first = self.run.started_at == lease.taken_at
        kind = "started" if first else "resumed"
        self.events = [RunEvent(kind=kind, actor="queue", data={"task": task} if task else {})]

    def go(self) -> bool:
        for step_run in self.steps:
            if step_run.status == StepStatus.PASSED:
                continue
            if self.check(step_run):
                return True
        return False

    def check(self, step_run: StepRun) -> bool:
        """Take one in-process step; return whether the run has ended."""
        self.begin(step_run)
        verdict = self.judge(step_run)
        last = step_run is self.steps[-1]
        return close_step(self.lease.held(), step_run, verdict, last=last, actor=_ACTOR)

    def begin(self, step_run: StepRun) -> None:
        # RUNNING too: the worker that began it may have died.
        startable = sources(STEP, StepStatus.RUNNING) | {StepStatus.RUNNING}
        with transaction.atomic():
            found = StepRun.objects.filter(pk=step_run.pk, status__in=startable)
            if not found.update(status=StepStatus.RUNNING, started_at=timezone.now()):
                raise Moved
            began = RunEvent(step_run=step_run, kind="step_started", actor=_ACTOR)
            record(self.run.pk, *self.events, began)
        self.events = []

    def judge(self, step_run: StepRun) -> Verdict:
        """Return what the step's engine and assertions say. Raises when it should be tried again."""
        try:
            return self.verdict(step_run)
        except ObjectTooLarge as error:
            return judged([finding(Problem(str(error), code="document.too_large"))])
        except (ObjectNotFound, EngineError) as error:
            return broken(str(error))
        except (StorageError, DatabaseError):
            raise
        except Exception:
            logger.exception("engine %s failed", step_run.step.validator.engine)
            return broken("The validator failed unexpectedly. We have been told.")

    def verdict(self, step_run: StepRun) -> Verdict:
        step = step_run.step
        document = self.document()
        result = get_engine(step.validator.engine).check(document, step.config)
        verdict = judged(map(finding, result.problems), outputs=result.outputs)
        if verdict.status == StepStatus.FAILED:
            return verdict  # of a document that does not hold, nothing more can be asked
        noted = apply_assertions(
            step_run,
            document=document,
            outputs=result.outputs,
            earlier={str(other.order): other.outputs for other in self.steps},
            constants=self.run.workflow.constants,
        )
        return judged([*verdict.findings, *noted], outputs=result.outputs)

    def document(self) -> Document:
        submission = self.run.submission
        body = content.read(submission, limit=MAX_DOCUMENT_BYTES)
        return Document(body, submission.filename, submission.mime_type)
