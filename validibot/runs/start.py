"""The one service that starts runs, for the API, the pages and the commands.

`start` checks that the workflow takes the file, freezes this version of the workflow, stores
large files, and creates submission, run and step runs in one transaction; the run is enqueued after
the commit. An idempotency key is taken by a single INSERT in the same transaction: a second request
with the same key waits there for the first one's commit, and then gets its run. When nothing was
created the stored file is removed again, whatever the reason; only if the connection breaks during
the commit itself, and the database cannot be asked, is it kept, because a run may have been created.
"""

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone

from validibot.accounts.models import User
from validibot.core.storage import StorageError
from validibot.credits import ledger
from validibot.runs import queue
from validibot.runs.access import (
    CreditsExhausted,
    NotAdmitted,
    RunLimits,
    check_further_files,
    check_inputs,
    check_organisation,
    check_runnable,
    check_scenario,
    check_step_files,
    check_type,
    chosen_weather,
)
from validibot.runs.charging import charged
from validibot.runs.concurrency import held_since
from validibot.runs.models import IdempotencyKey, Run, RunEvent, StepRun
from validibot.runs.takeover import Takeover, living_retry
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.tracking.events import INSERT, values_of
from validibot.tracking.models import EventName
from validibot.workflows import links
from validibot.workflows.models import LaunchLink, Workflow, WorkflowSchedule
from validibot.workflows.schedules import go_on
from validibot.workflows.select import enabled_steps
from validibot.workflows.versions import freeze

# After so long a key may be used again, for another request.
KEY_LIFETIME = dt.timedelta(hours=24)
_TAKE_KEY = """
INSERT INTO runs_idempotencykey (organisation_id, user_id, key, fingerprint, run_id, created_at)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (organisation_id, user_id, key) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint, run_id = EXCLUDED.run_id, created_at = EXCLUDED.created_at
WHERE runs_idempotencykey.created_at < %s
RETURNING id
"""

logger = logging.getLogger(__name__)


class OriginTaken(Exception):
    """The time of the schedule, the last launch of the link, or the retry of the run was taken.

    No run was started.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrigin:
    """The cause of a run: the run that it repeats or retries, the schedule, or the link."""

    rerun_of: Run | None = None
    retry_of: Run | None = None
    schedule: WorkflowSchedule | None = None
    link: LaunchLink | None = None


_INSERT_EVENTS = f"""
WITH tracked AS ({INSERT})
INSERT INTO runs_runevent (run_id, step_run_id, at, kind, actor, message, data)
SELECT %s, event.step_run_id, event.at, event.kind, event.actor, '', event.data
FROM ROWS FROM (
    jsonb_to_recordset(%s::jsonb) AS (step_run_id bigint, at timestamptz, kind text, actor text, data jsonb)
) WITH ORDINALITY AS event(step_run_id, at, kind, actor, data, number)
ORDER BY event.number
"""  # noqa: S608 - a constant
_NO_ORIGIN = RunOrigin()


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run, and whether an earlier request with the same idempotency key had started it."""

    run: Run
    replayed: bool = False


def start(
    workflow: Workflow,
    incoming: content.Incoming,
    *,
    user: User | None,
    source: str,
    idempotency_key: str = "",
    origin: RunOrigin = _NO_ORIGIN,
) -> StartedRun:
    """Start a run of `workflow` on a file. A key takes effect for a `user` only.

    Raises NotAdmitted, OriginTaken, and StorageError or DatabaseError when those cannot be reached
    now. Prefetch `steps__validator` of the workflow: each is read more than once.
    """
    _check_request(workflow, incoming)
    limits = _check_organisation(workflow, user, idempotency_key, incoming)
    workflow = freeze(workflow)
    weather = chosen_weather(workflow, incoming.weather)
    check_step_files(workflow, weather)
    submission = content.prepare(
        incoming, organisation=workflow.organisation, project=workflow.project, user=user
    )
    run = _new_run(workflow, submission, user=user, source=source, scenario=incoming.scenario)
    run.rerun_of, run.schedule, run.retry_of = origin.rerun_of, origin.schedule, origin.retry_of
    takeover = Takeover(origin.retry_of, run) if origin.retry_of else None
    told = _fingerprint(run, incoming)
    is_committing = False
    try:
        if takeover:
            takeover.copy_files()
        with transaction.atomic():
            has_key = user is not None and bool(idempotency_key)
            replayed = _take_key(run, idempotency_key, told) if has_key else None
            if replayed is None:
                _take(origin)
                content.save(submission)
                _insert(run, weather, takeover, limits)
                is_committing = True
    except BaseException:
        _discard(submission, takeover, unless_saved=is_committing)
        raise
    if replayed is not None:
        _discard(submission, takeover)
        return StartedRun(replayed, replayed=True)
    if run.held_at is None:
        queue.enqueue_run(run)
    return StartedRun(run)


def _check_request(workflow: Workflow, incoming: content.Incoming) -> None:
    """Raise NotAdmitted if the workflow is not to take this file, as it was sent."""
    check_runnable(workflow)
    check_type(workflow, incoming.filename)
    check_further_files(workflow, incoming.further)
    check_scenario(workflow, incoming.scenario)
    check_inputs(workflow, incoming.metadata)


def _check_organisation(
    workflow: Workflow, user: User | None, key: str, incoming: content.Incoming
) -> RunLimits:
    """Raise NotAdmitted as `check_organisation`, unless the key belongs to a run that was started."""
    size = sum(file.size_bytes for file in (incoming, *incoming.further))
    price = sum(step.validator.credits for step in enabled_steps(workflow))
    try:
        return check_organisation(workflow.organisation, size_bytes=size, price=price)
    except NotAdmitted:
        known = IdempotencyKey.objects.filter(
            organisation=workflow.organisation, user=user, key=key
        )
        if not (user and key and known.exists()):
            raise
        return RunLimits(has_credits=True, has_concurrency=True)


def _new_run(
    workflow: Workflow, submission: Submission, *, user: User | None, source: str, scenario: str
) -> Run:
    return Run(
        organisation=workflow.organisation,
        workflow=workflow,
        submission=submission,
        user=user,
        source=source,
        scenario=scenario,
        enqueued_at=timezone.now(),
    )


def _fingerprint(run: Run, incoming: content.Incoming) -> str:
    """Return a digest of what was asked for, to tell a repeated request from another."""
    told = f"{run.workflow_id} {incoming.fingerprint()}"
    if run.retry_of_id:
        told += f" retry of {run.retry_of_id}"
    return hashlib.sha256(told.encode()).hexdigest()


def _insert(
    run: Run,
    weather: Mapping[int, dict[str, Any]],
    takeover: Takeover | None,
    limits: RunLimits,
) -> None:
    """Insert a run with its step runs and first events; hold it or reserve its credits, if need be.

    `weather` is by the key of the step. Raises CreditsExhausted.
    """
    if limits.has_concurrency:
        run.held_at = held_since(run.organisation_id)
    steps = [StepRun.of(run, step, weather.get(step.pk)) for step in enabled_steps(run.workflow)]
    if limits.has_credits:
        _reserve_credits(run, steps)
    run.save(force_insert=True)
    if takeover:
        takeover.prepare(steps)
    run.started_steps = StepRun.objects.bulk_create(steps)
    actor = run.user.email if run.user else ""
    events = [RunEvent(run=run, kind="created", actor=actor)]
    if takeover:
        events += takeover.save(steps)
    waits = RunEvent(run=run, kind="held" if run.held_at else "queued")
    _insert_events(run, [*events, waits])


def _insert_events(run: Run, events: Sequence[RunEvent]) -> None:
    """Insert the first events of a run together with its tracking event: one round trip."""
    told = values_of(
        EventName.RUN_LAUNCHED,
        actor=run.user_id,
        organisation=run.organisation_id,
        source=run.source,
        steps=len(run.started_steps or ()),
    )
    rows = [
        {name: getattr(event, name) for name in ("step_run_id", "kind", "actor", "data")}
        | {"at": event.at.isoformat()}
        for event in events
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_EVENTS, [*told, run.pk, json.dumps(rows)])


def _reserve_credits(run: Run, steps: Sequence[StepRun]) -> None:
    """Reserve the price of the steps, also of those that a retry takes over. Raises CreditsExhausted.

    The run that is retried gave back what its steps had cost.
    """
    price = sum(step.price for step in steps)
    try:
        is_charged = ledger.reserve(charged(run), price)
    except ledger.NotEnoughCredits as error:
        raise CreditsExhausted(
            run.organisation.name, balance=error.balance, price=error.price
        ) from error
    run.credits = price if is_charged else None


def _take(origin: RunOrigin) -> None:
    """Take the time of the schedule, a launch of the link or the retry, in the run's transaction.

    Raises OriginTaken.
    """
    if origin.retry_of:
        # A retry at the same moment waits here for the commit of the first one.
        Run.objects.select_for_update(no_key=True).filter(pk=origin.retry_of.pk).first()
        if living_retry(origin.retry_of):
            raise OriginTaken(origin.retry_of)
    if origin.schedule and not go_on(origin.schedule):
        raise OriginTaken(origin.schedule)
    if origin.link and not links.take(origin.link):
        raise OriginTaken(origin.link)


def _take_key(run: Run, key: str, fingerprint: str) -> Run | None:
    """Bind `key` to a run that is created now; return the run that it is bound to already."""
    now = timezone.now()
    owner = (run.organisation_id, run.user_id, key)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_KEY, [*owner, fingerprint, run.pk, now, now - KEY_LIFETIME])
        if cursor.fetchone():
            return None
    row = IdempotencyKey.objects.select_related("run").get(
        organisation=run.organisation, user=run.user, key=key
    )
    if row.fingerprint != fingerprint:
        raise NotAdmitted(
            "idempotency_key_reused",
            "This Idempotency-Key was sent before with other content. Use a new key.",
            status=422,
        )
    return row.run


def _discard(
    submission: Submission, takeover: Takeover | None = None, *, unless_saved: bool = False
) -> None:
    """Remove the stored files of a run that was not saved; log it when that is impossible."""
    if not takeover and not any(row.uri for row in (submission, *submission.further_files)):
        return
    try:
        if not (unless_saved and _is_saved(submission.pk)):
            content.discard(submission)
            if takeover:
                takeover.discard()
    except (DatabaseError, InterfaceError, StorageError) as error:
        logger.warning("the files of submission %s are left behind: %s", submission.pk, error)


def _is_saved(submission_id: UUID) -> bool:
    return Submission.objects.filter(pk=submission_id).exists()
