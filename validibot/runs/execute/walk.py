"""Walk the steps of a run that we hold."""

import logging
from enum import Enum
from uuid import UUID

from django.db import DatabaseError, transaction
from django.utils import timezone

from validibot.core.logging import bound_run
from validibot.core.storage import ObjectNotFound, ObjectTooLarge, StorageError
from validibot.engines import Document, EngineError, Problem, get_engine
from validibot.runs.events import record
from validibot.runs.execute.lease import Lease, claim, heart
from validibot.runs.findings import (
    Moved,
    Verdict,
    apply_assertions,
    broken,
    close_step,
    finding,
    judged,
)
from validibot.runs.launch import launch
from validibot.runs.models import Run, RunEvent, StepRun
from validibot.runs.states import STEP, StepStatus, sources
from validibot.submissions import content

# What an in-process step may hold in memory; larger documents are a finding.
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
# So many workers may die on one step.
MAX_TRIES = 5
_ACTOR = "worker"

logger = logging.getLogger(__name__)


class Progress(Enum):
    ON = "on"
    WAITING = "waiting"
    ENDED = "ended"


def execute(run_id: UUID, *, task: str = "") -> Run | None:
    """Go on with a run until it ends or waits for a validator; return it if it ended here.

    Raises Busy while another worker holds it, and StorageError or DatabaseError when those are out
    of reach: the same call may then be repeated.
    """
    lease = claim(run_id)
    if lease is None:
        return None
    with bound_run(run_id), heart.beating_for(lease):
        try:
            walk = Walk(lease, task=task)
            return walk.run if walk.go() else None
        except Moved:
            logger.info("run %s was ended or taken over meanwhile", run_id)
            return None
        except StorageError:
            lease.release()
            raise


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
        kind = "delivered" if first else "resumed"
        self.events = [RunEvent(kind=kind, actor="queue", data={"task": task} if task else {})]

    def go(self) -> bool:
        """Return whether the run has ended."""
        for step_run in self.steps:
            if step_run.status == StepStatus.PASSED:
                continue
            in_process = step_run.step.validator.in_process
            progress = self.check(step_run) if in_process else self.hand_over(step_run)
            if progress is not Progress.ON:
                return progress is Progress.ENDED
        return False

    def check(self, step_run: StepRun) -> Progress:
        """Take one in-process step."""
        hopeless = step_run.status == StepStatus.RUNNING and self.tries(step_run) >= MAX_TRIES
        if hopeless:
            return self.close(step_run, broken("The validator ended its worker again and again."))
        self.begin(step_run)
        return self.close(step_run, self.judge(step_run))

    def tries(self, step_run: StepRun) -> int:
        """Return how many workers have begun the step: a document may be deadly to all of them."""
        return RunEvent.objects.filter(step_run=step_run, kind="step_started").count()

    def hand_over(self, step_run: StepRun) -> Progress:
        """Give a container step to its validator, unless it has it already."""
        if step_run.status == StepStatus.PENDING:
            self.begin(step_run)
        try:
            verdict = launch(self.run, step_run)
        except (Moved, StorageError, DatabaseError):
            raise
        except Exception:
            logger.exception("launch of %s failed", step_run)
            verdict = broken("The validator could not be started. We have been told.")
        return self.close(step_run, verdict) if verdict else self.let_go(step_run)

    def let_go(self, step_run: StepRun) -> Progress:
        """Leave the run to its validator, unless that has answered already.

        Under the row's lock: an answer that comes later finds the run free and enqueues it.
        """
        with transaction.atomic():
            if not self.lease.held().select_for_update(no_key=True).exists():
                raise Moved
            step_run.refresh_from_db(fields=["status", "outputs"])
            if step_run.status == StepStatus.PASSED:
                return Progress.ON
            self.lease.release()
        return Progress.WAITING

    def close(self, step_run: StepRun, verdict: Verdict) -> Progress:
        last = step_run is self.steps[-1]
        ended = close_step(self.lease.held(), step_run, verdict, last=last, actor=_ACTOR)
        return Progress.ENDED if ended else Progress.ON

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
