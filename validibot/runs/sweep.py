"""The sweep: the periodic pass that finds everything that was lost.

Every minute a scheduler asks for it. It enqueues held runs that have a place, runs that wait for a
worker and may have no queue entry, FMUs of steps that were not read, featured images without sizes,
exports without a file, and the schedules whose time has come; looks at attempts that wait for a validator, cancels executions that nobody needs any
more, deletes images that were replaced, and lets backends remove what ended attempts left. Runs and attempts have their turn by the
time of the last check, then the oldest first, so that a few that do not get on cannot hide the
others.
"""

import datetime as dt
import logging
from collections.abc import Callable, Set as AbstractSet
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from validibot.core.storage import StorageError
from validibot.engines import EngineBusy
from validibot.notifications.delivery import lost_notices
from validibot.notifications.sending import sweep_mails
from validibot.runs import queue, reconcile
from validibot.runs.backends import get_backend
from validibot.runs.backends.base import StateUnavailable
from validibot.runs.concurrency import start_all_held
from validibot.runs.export_files import lost_exports, make_export
from validibot.runs.models import Attempt, Run
from validibot.runs.states import ACTIVE_ATTEMPT, AttemptState, RunStatus
from validibot.webhooks.delivery import sweep_deliveries
from validibot.workflows.fmu import lost_probes, probe_fmu
from validibot.workflows.images import lost_images, make_sizes, remove_due
from validibot.workflows.schedules import due_schedules

BATCH = 200
# After so long a run gets a queue entry of a new name: the queue may remember the old name although
# the entry is gone.
ENTRY_LIFETIME = dt.timedelta(hours=1)

logger = logging.getLogger(__name__)


def run_sweep() -> dict[str, int]:
    """Sweep through everything unfinished; return how much was touched."""
    now = timezone.now()
    held = start_all_held()
    enqueued = held + sum(queue.enqueue_run_once(run) for run in _waiting_runs(now))
    launched = Attempt.objects.filter(
        state__in=ACTIVE_ATTEMPT - {AttemptState.PENDING}, created_at__lt=_pending_since(now)
    )
    looked_at = _each(launched, reconcile.look, now=now)
    marked = Attempt.objects.filter(cancel_requested_at__isnull=False, execution_ended_at=None)
    cancelled = _each(marked, _stop, now=now)
    _remove_leftovers()
    messages = sweep_deliveries() + sweep_mails()
    for run_id in lost_notices(now, limit=BATCH):
        queue.enqueue_notices(run_id)
    due = list(due_schedules(now)[:BATCH])
    scheduled = sum(queue.enqueue_schedule(each, now) for each in due)
    probes = sum(queue.enqueue_lost(probe_fmu, *lost) for lost in lost_probes(now, limit=BATCH))
    images = sum(queue.enqueue_lost(make_sizes, *lost) for lost in lost_images(now, limit=BATCH))
    exports = sum(queue.enqueue_lost(make_export, *lost) for lost in lost_exports(now, limit=BATCH))
    remove_due(now, limit=BATCH)
    return {
        "enqueued": enqueued,
        "looked_at": looked_at,
        "cancelled": cancelled,
        "messages": messages,
        "scheduled": scheduled,
        "probes": probes,
        "images": images,
        "exports": exports,
    }


def _waiting_runs(now: dt.datetime) -> list[Run]:
    """Claim runs that should be on the queue; a second sweep at the same time passes them by."""
    active = Attempt.objects.filter(step_run__run=OuterRef("pk"), state__in=ACTIVE_ATTEMPT)
    is_free = Q(lease_expires_at=None) & ~Exists(active)
    long_ago = _pending_since(now)
    waiting = Run.objects.filter(
        Q(status=RunStatus.PENDING, held_at=None)
        | Q(status=RunStatus.RUNNING) & (Q(lease_expires_at__lt=now) | is_free),
        Q(checked_at=None) | Q(checked_at__lt=long_ago),
        enqueued_at__lt=long_ago,
    ).order_by(F("checked_at").asc(nulls_first=True), "created_at")
    with transaction.atomic():
        runs = list(waiting.select_for_update(skip_locked=True, no_key=True)[:BATCH])
        for run in runs:
            run.checked_at = now
            if run.enqueued_at and run.enqueued_at < now - ENTRY_LIFETIME:
                run.enqueued_at = now
        Run.objects.bulk_update(runs, ["checked_at", "enqueued_at"])
    return runs


def _each(
    attempts: "QuerySet[Attempt]", check: Callable[[UUID], object], *, now: dt.datetime
) -> int:
    """Check attempts in their turn; one that cannot be checked must not hide the others."""
    in_turn = attempts.order_by(F("checked_at").asc(nulls_first=True), "created_at")
    ids = list(in_turn.values_list("pk", flat=True)[:BATCH])
    Attempt.objects.filter(pk__in=ids).update(checked_at=now)
    for attempt_id in ids:
        try:
            check(attempt_id)
        except (StorageError, EngineBusy, StateUnavailable) as error:
            logger.warning("attempt %s is looked at later: %s", attempt_id, error)
        except DatabaseError:
            raise
        except Exception:
            logger.exception("attempt %s cannot be looked at", attempt_id)
    return len(ids)


def _stop(attempt_id: UUID) -> None:
    if attempt := reconcile.load_attempt(attempt_id):
        reconcile.stop_execution(attempt)


def _remove_leftovers() -> None:
    for alias in settings.EXECUTION_BACKENDS:
        try:
            get_backend(alias).sweep(_ended)
        except StateUnavailable as error:
            logger.warning("leftovers of backend %s are removed later: %s", alias, error)


def _ended(attempts: AbstractSet[UUID]) -> AbstractSet[UUID]:
    """Return those of `attempts` whose folders and containers nobody needs."""
    active = Attempt.objects.filter(pk__in=attempts, state__in=ACTIVE_ATTEMPT)
    return attempts - set(active.values_list("pk", flat=True))


def _pending_since(now: dt.datetime) -> dt.datetime:
    return now - dt.timedelta(seconds=settings.RUN_PENDING_SECONDS)
