"""Scheduled runs: start the run of each schedule whose time has come.

The sweep enqueues a task for each, again and again while the time waits. The run is created in one
transaction with the schedule going on to its next time, so a time starts one run, however many
sweeps and workers try, and whenever they die.

A start that may succeed later (an address that does not answer, a full quota) is tried again, after
longer and longer waits, for `RETRY_FOR`.
"""

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from django.utils import timezone

from validibot.accounts.models import User
from validibot.accounts.scope import NotAMember, scope_of
from validibot.core.storage import StorageError, get_storage
from validibot.runs.access import NotAdmitted
from validibot.runs.models import Run
from validibot.runs.start import OriginTaken, RunOrigin, start
from validibot.submissions.content import CHUNK_BYTES, Incoming, measure
from validibot.submissions.fetch import FetchFailed, fetch
from validibot.workflows import schedules
from validibot.workflows.models import WorkflowSchedule
from validibot.workflows.select import WorkflowNotFound, find_workflow

RETRY_FOR = dt.timedelta(hours=1)

logger = logging.getLogger(__name__)


class CreatorGone(Exception):
    """The user of a schedule may not start its workflow any more."""


def start_scheduled(schedule_id: int) -> Run | None:
    """Start the run of a schedule whose time has come; return None if it starts none now."""
    now = timezone.now()
    due = schedules.due_schedules(now).select_related("organisation", "created_by")
    schedule = due.filter(pk=schedule_id).first()
    if schedule is None or schedule.next_at is None:
        return None
    try:
        return _start(schedule)
    except OriginTaken:
        return None
    except CreatorGone as error:
        schedules.pause(schedule, reason=str(error))
    except (NotAdmitted, FetchFailed, StorageError, WorkflowNotFound) as error:
        logger.warning("schedule %s starts no run now: %s", schedule.pk, error)
        if _may_pass(error) and now < schedule.next_at + RETRY_FOR:
            schedules.postpone(schedule, _reason(error))
        else:
            schedules.go_on(schedule, error=_reason(error))
    return None


def _start(schedule: WorkflowSchedule) -> Run:
    """Start the run. Raises CreatorGone, FetchFailed, WorkflowNotFound and as `start`."""
    user = schedule.created_by
    workflow = find_workflow(schedule.organisation, schedule.workflow)
    if not _may_launch(user, schedule):
        raise CreatorGone(
            f"{user or 'Its user'} may not start this workflow any more. Resume the schedule to make"
            " its runs yours."
        )
    with _incoming(schedule) as incoming:
        origin = RunOrigin(schedule=schedule)
        return start(workflow, incoming, user=user, source=Run.Source.SCHEDULE, origin=origin).run


def _may_launch(user: User | None, schedule: WorkflowSchedule) -> bool:
    if user is None or not user.is_active:
        return False
    try:
        return scope_of(user, schedule.organisation.slug).can_launch(schedule.workflow)
    except NotAMember:
        return False


@contextmanager
def _incoming(schedule: WorkflowSchedule) -> Iterator[Incoming]:
    """Open the file of a schedule as that of a launch. Raises FetchFailed and StorageError."""
    if schedule.url:
        with fetch(schedule.url, schedule.metadata) as incoming:
            yield incoming
        return
    with SpooledTemporaryFile(max_size=CHUNK_BYTES) as file:
        kept = get_storage(schedule.uri)
        for chunk in kept.stream(schedule.uri, version=schedule.storage_version):
            file.write(chunk)
        target = cast("BinaryIO", file)
        size, sha256 = measure(target)
        yield Incoming(target, schedule.filename, size, sha256, metadata=schedule.metadata)


def _may_pass(error: Exception) -> bool:
    """Return whether another try may succeed although nobody changes anything."""
    return bool(error.retry_after) if isinstance(error, NotAdmitted) else True


def _reason(error: Exception) -> str:
    """Return what the page tells; errors of storage name addresses, which stay in the log."""
    return "The kept file cannot be read." if isinstance(error, StorageError) else str(error)
