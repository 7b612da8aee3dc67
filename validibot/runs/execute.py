"""Execution of a run's steps: one worker at a time, each step once.

A worker takes a run by a lease (`validibot.runs.lease`). An in-process step is begun, judged and
closed here. A container step is launched, and the worker lets go of the run; the outcome of the
attempt enqueues it again.

A worker that dies leaves its step RUNNING with its `starts` counted; after `MAX_STARTS` the step is
given up, because its document may be what kills workers. A worker that only finds storage or
provider out of reach takes its start back and lets go: outages are waited for until the run's
deadline, `RUN_DEADLINE_SECONDS` after its start.
"""

import datetime as dt
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connection, transaction
from django.db.models import F, Model
from django.db.models.functions import Greatest
from django.utils import timezone

from validibot.core.logging import bound_run
from validibot.core.storage import ObjectNotFound, ObjectTooLarge, StorageError, get_storage
from validibot.engines import (
    Document,
    DocumentProblem,
    EngineBusy,
    EngineError,
    EngineManifest,
    get_engine,
)
from validibot.runs.events import record
from validibot.runs.evidence import remember
from validibot.runs.launch import LaunchPostponed, launch
from validibot.runs.lease import RunLease, claim, heartbeat
from validibot.runs.lifecycle import StateMoved, close_step, end_run
from validibot.runs.models import Run, RunEvent, StepRun
from validibot.runs.states import STEP, ErrorCategory, RunStatus, StepStatus, sources
from validibot.runs.verdict import (
    MAX_PAYLOAD_BYTES,
    Verdict,
    broken,
    complete,
    condition_verdict,
    finding,
    judged,
    names_in_scope,
)
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.workflows.ai import language_model_of
from validibot.workflows.models import Step, StepFile, Validator, Workflow

# So many workers may die on one step.
MAX_STARTS = 5
_ACTOR = "worker"
_OUTAGES = (StorageError, EngineBusy, LaunchPostponed, DatabaseError, InterfaceError)

logger = logging.getLogger(__name__)


class Progress(Enum):
    """How a run goes on after a step."""

    ON = "on"
    WAITING = "waiting"
    ENDED = "ended"


def execute(run_id: UUID, *, task: str = "") -> bool:
    """Go on with a run until it ends or waits for a validator; return whether it ended here.

    Raises RunBusy while another worker holds it, and StorageError, EngineBusy, LaunchPostponed or
    DatabaseError when something is out of reach: the same call may then be repeated.
    """
    lease = claim(run_id)
    if lease is None:
        return False
    with bound_run(run_id), heartbeat(lease):
        try:
            return Walk(lease, task=task).go()
        except StateMoved:
            logger.info("run %s was ended or taken over meanwhile", run_id)
            return False


class Walk:
    """One worker's way through the steps of a run."""

    def __init__(self, lease: RunLease, *, task: str) -> None:
        self.lease = lease
        self.steps = _load_steps(lease.run_id)
        self.run = self.steps[0].run
        # Equal only for the worker that made it RUNNING: a later one finds an earlier time.
        is_first = self.run.started_at == lease.taken_at
        kind = "delivered" if is_first else "resumed"
        self.events = [RunEvent(kind=kind, actor="queue", data={"task": task} if task else {})]

    def go(self) -> bool:
        """Return whether the run has ended."""
        if self.is_overdue:
            return self.give_up()
        for step_run in self.steps:
            if step_run.has_ended:
                continue
            try:
                progress = self.take(step_run)
            except _OUTAGES:
                self.retreat(step_run)
                raise
            if progress is not Progress.ON:
                return progress is Progress.ENDED
        return False

    @property
    def is_overdue(self) -> bool:
        limit = dt.timedelta(seconds=settings.RUN_DEADLINE_SECONDS)
        started_at = self.run.started_at or self.lease.taken_at
        return self.lease.taken_at > started_at + limit

    def give_up(self) -> bool:
        hours = settings.RUN_DEADLINE_SECONDS / 3600
        return end_run(
            self.lease.held(),
            self.run.pk,
            RunStatus.TIMED_OUT,
            actor=_ACTOR,
            category=ErrorCategory.TIMEOUT,
            error=f"The run was not finished within {hours:g} hours. Start it again.",
        )

    def take(self, step_run: StepRun) -> Progress:
        """Execute an in-process step, or hand a container step to its validator."""
        if step_run.status == StepStatus.RUNNING and step_run.starts >= MAX_STARTS:
            message = f"The validator ended its worker {MAX_STARTS} times."
            return self.close(step_run, broken(message))
        stopped = self.check_condition(step_run) if step_run.step.when else None
        if stopped and stopped.status == StepStatus.SKIPPED:
            return self.close(step_run, stopped)
        if step_run.step.validator.in_process or stopped:
            self.begin(step_run)
        if stopped:
            return self.close(step_run, stopped)
        if step_run.step.validator.in_process:
            return self.close(step_run, self.judge(step_run))
        return self.hand_over(step_run)

    def check_condition(self, step_run: StepRun) -> Verdict | None:
        """Return the verdict of a step that is not to be executed. Raises in an outage."""
        if step_run.status != StepStatus.PENDING:  # it was begun, so its condition was true
            return None
        submission = self.run.submission
        is_read = submission.size_bytes <= MAX_PAYLOAD_BYTES
        try:
            body = content.read(submission, limit=MAX_PAYLOAD_BYTES) if is_read else b""
            document = Document(body, submission.filename, submission.mime_type)
            earlier = self.earlier(step_run)
            return condition_verdict(step_run, run=self.run, document=document, earlier=earlier)
        except (ObjectNotFound, EngineError) as error:
            return broken(str(error))

    def earlier(self, step_run: StepRun) -> dict[str, Mapping[str, Any]]:
        """Return the outputs of the steps before one, by order."""
        return {
            str(other.order): other.outputs for other in self.steps if other.order < step_run.order
        }

    def hand_over(self, step_run: StepRun) -> Progress:
        """Launch a container step, unless that was done before."""
        if step_run.status == StepStatus.PENDING:
            self.begin(step_run)
        try:
            verdict = launch(self.run, step_run)
        except (StateMoved, *_OUTAGES):
            raise
        except Exception:
            logger.exception("launch of %s failed", step_run)
            verdict = broken("The validator could not be started. The error was reported.")
        return self.close(step_run, verdict) if verdict else self.let_go(step_run)

    def let_go(self, step_run: StepRun) -> Progress:
        """Leave the run to its validator, unless that has answered already.

        Under the row's lock: an answer that comes later finds the run free and enqueues it.
        """
        with transaction.atomic():
            if not self.lease.held().select_for_update(no_key=True).exists():
                raise StateMoved
            step_run.refresh_from_db(fields=["status", "outputs"])
            if step_run.has_ended:
                return Progress.ON
            StepRun.objects.filter(pk=step_run.pk).update(starts=0)
            self.lease.release()
        return Progress.WAITING

    def retreat(self, step_run: StepRun) -> None:
        """Let go of the run in an outage, without counting this start."""
        with suppress(DatabaseError, InterfaceError), transaction.atomic():
            began = StepRun.objects.filter(pk=step_run.pk, status=StepStatus.RUNNING)
            began.update(starts=Greatest(F("starts") - 1, 0))
            record(self.run.pk, *self.events)
            self.events = []
            self.lease.release()

    def close(self, step_run: StepRun, verdict: Verdict) -> Progress:
        if step_run.step.validator.in_process and not verdict.outputs:
            remember(step_run, verdict.findings, of=self.steps)
        ended = close_step(
            self.lease.held(),
            step_run,
            verdict,
            last=step_run is self.steps[-1],
            actor=_ACTOR,
            events=self.events,
        )
        self.events = []
        return Progress.ENDED if ended else Progress.ON

    def begin(self, step_run: StepRun) -> None:
        """Mark the step as started, and write the events so far: if this worker dies they stay."""
        self.events.append(RunEvent(step_run=step_run, kind="step_started", actor=_ACTOR))
        # RUNNING too: the worker that began it may have died.
        startable = sources(STEP, StepStatus.RUNNING) | {StepStatus.RUNNING}
        events = [
            {
                "at": event.at.isoformat(),
                "kind": event.kind,
                "actor": event.actor,
                "data": event.data,
                "of_step": event.step_run_id is not None,
            }
            for event in self.events
        ]
        now = timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(
                _BEGIN_STEP,
                [now, step_run.pk, sorted(startable), self.lease.token, json.dumps(events)],
            )
            if not cursor.rowcount:
                raise StateMoved
        self.events = []

    def judge(self, step_run: StepRun) -> Verdict:
        """Return the verdict of the step's engine and assertions. Raises in an outage."""
        try:
            return self.verdict(step_run)
        except ObjectTooLarge as error:
            return judged([finding(DocumentProblem(str(error), code="document.too_large"))])
        except (ObjectNotFound, EngineError) as error:
            return broken(str(error))
        except _OUTAGES:
            raise
        except Exception:
            logger.exception("engine %s failed", step_run.step.validator.engine)
            return broken("The validator failed unexpectedly. The error was reported.")

    def verdict(self, step_run: StepRun) -> Verdict:
        step = step_run.step
        engine = get_engine(step.validator.engine)
        earlier = self.earlier(step_run)
        document = self.document(step, engine.manifest, earlier)
        result = engine.check(document, step.config)
        verdict = judged(map(finding, result.problems), outputs=result.outputs)
        return complete(verdict, step_run, run=self.run, document=document, earlier=earlier)

    def document(
        self, step: Step, manifest: EngineManifest, earlier: Mapping[str, Mapping[str, Any]]
    ) -> Document:
        """Return the submitted file, with what the engine reads besides."""
        submission = self.run.submission
        body = content.read(submission, limit=manifest.max_bytes)
        if not manifest.reads_context:
            return Document(body, submission.filename, submission.mime_type)
        model = language_model_of(self.run.organisation) if manifest.asks_model else None
        files = {file.name: b"".join(stored_chunks(file)) for file in step.files.all()}
        for file in submission.further_files:
            files[file.filename] = content.read(file, limit=manifest.max_bytes)
        names = names_in_scope(self.run, earlier=earlier, outputs={})
        return Document(body, submission.filename, submission.mime_type, files, names, model)


def stored_chunks(file: StepFile) -> Iterator[bytes]:
    """Return the content of a file of a step in chunks."""
    return get_storage(file.uri).stream(file.uri, version=file.storage_version)


class ModelColumns[M: Model]:
    """All columns of a model in a statement of our own, and the objects that are made of them.

    For the few statements that are executed so often that it matters how long Django writes them:
    with many columns and joins that takes it longer than PostgreSQL takes to answer.
    """

    def __init__(self, model: type[M], alias: str) -> None:
        self._model = model
        fields = model._meta.concrete_fields  # noqa: SLF001
        self._names = [field.attname for field in fields]
        self._converters = [getattr(field, "from_db_value", None) for field in fields]
        self.sql = ", ".join(f'{alias}."{field.column}"' for field in fields)

    def read(self, values: Iterator[Any]) -> M:
        """Return the object of the next columns of a row."""
        row = [
            convert(next(values), None, connection) if convert else next(values)
            for convert in self._converters
        ]
        return self._model.from_db(DEFAULT_DB_ALIAS, self._names, row)


# One statement is one transaction, without the round trips of a transaction of its own.
_BEGIN_STEP = """
WITH started AS (
    UPDATE runs_steprun step_run SET status = 'RUNNING', started_at = %s, starts = starts + 1
    FROM runs_run run
    WHERE step_run.id = %s AND step_run.status = ANY(%s)
        AND run.id = step_run.run_id AND run.lease_token = %s
    RETURNING step_run.id, step_run.run_id
)
INSERT INTO runs_runevent (run_id, step_run_id, at, kind, actor, message, data)
SELECT started.run_id, CASE WHEN event.of_step THEN started.id END, event.at, event.kind,
    event.actor, '', event.data
FROM started, ROWS FROM (
    jsonb_to_recordset(%s::jsonb) AS (at timestamptz, kind text, actor text, data jsonb, of_step boolean)
) WITH ORDINALITY AS event(at, kind, actor, data, of_step, number)
ORDER BY event.number
"""

_STEP_RUN, _RUN = ModelColumns(StepRun, "step_run"), ModelColumns(Run, "run")
_WORKFLOW = ModelColumns(Workflow, "workflow")
_SUBMISSION = ModelColumns(Submission, "submission")
_STEP, _VALIDATOR = ModelColumns(Step, "step"), ModelColumns(Validator, "validator")
# Written by the ORM it cost the worker a third of its time for a run. A document in its row is read
# once for each step, but is small.
_LOAD_STEPS = f"""
SELECT {_STEP_RUN.sql}, {_RUN.sql}, {_WORKFLOW.sql}, {_SUBMISSION.sql}, {_STEP.sql},
    {_VALIDATOR.sql}, (
        SELECT coalesce(json_agg(json_build_object(
            'key', assertion.id, 'expression', assertion.expression, 'when', assertion."when",
            'severity', assertion.severity, 'message', assertion.message,
            'success_message', assertion.success_message, 'path', assertion.path)
            ORDER BY assertion."order"), '[]')
        FROM workflows_assertion assertion WHERE assertion.step_id = step.id),
    EXISTS (SELECT 1 FROM webhooks_webhook webhook
        WHERE webhook.organisation_id = run.organisation_id AND webhook.is_active),
    EXISTS (SELECT 1 FROM notifications_notificationpreference preference
        WHERE preference.organisation_id = run.organisation_id),
    (SELECT coalesce(own.concurrent_runs, site.concurrent_runs_per_organisation, 0) > 0
        FROM accounts_organisation own LEFT JOIN core_sitesettings site ON true
        WHERE own.id = run.organisation_id)
FROM runs_steprun step_run
JOIN runs_run run ON run.id = step_run.run_id
JOIN workflows_workflow workflow ON workflow.id = run.workflow_id
JOIN submissions_submission submission ON submission.id = run.submission_id
JOIN workflows_step step ON step.id = step_run.step_id
JOIN workflows_validator validator ON validator.id = step.validator_id
WHERE step_run.run_id = %s
ORDER BY step_run."order"
"""  # noqa: S608 - names of columns


def _load_steps(run_id: UUID) -> list[StepRun]:
    """Return the steps of a run, all with the same run, and with their assertions."""
    with connection.cursor() as cursor:
        cursor.execute(_LOAD_STEPS, [run_id])
        rows = cursor.fetchall()
    steps = [_step_run(iter(row)) for row in rows]
    for step_run in steps:
        step_run.run = steps[0].run
    return steps


def _step_run(values: Iterator[Any]) -> StepRun:
    step_run: Any = _STEP_RUN.read(values)
    step_run.run = _RUN.read(values)
    step_run.run.workflow = _WORKFLOW.read(values)
    step_run.run.submission = _SUBMISSION.read(values)
    step_run.step = _STEP.read(values)
    step_run.step.validator = _VALIDATOR.read(values)
    step_run.assertion_rows = next(values)
    step_run.run.may_be_announced = next(values)
    step_run.run.may_be_watched = next(values)
    step_run.run.may_be_waited_for = next(values)
    loaded: StepRun = step_run
    return loaded
