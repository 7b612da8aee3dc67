"""Schedules of a workflow: create, change, pause, resume and run them, and go on to their next time.

Of the times that passed during an outage the schedule keeps the first one; its run is started late,
once, and the others are left out.
"""

import datetime as dt
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any

from cronsim import CronSim, CronSimError
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import Organisation, User
from validibot.accounts.profile import zone_of
from validibot.core.outbound import AddressRefused, check_address
from validibot.core.site_limits import check_room
from validibot.tracking.events import track
from validibot.tracking.models import EventName
from validibot.workflows.models import Workflow, WorkflowSchedule
from validibot.workflows.weather import store_by_digest

# Schedules of one workflow.
MAX_SCHEDULES = 20
MAX_FILE_BYTES = 10 * 1024 * 1024
# The shortest time between two runs of a schedule.
MIN_INTERVAL = dt.timedelta(minutes=5)
# The waits between the tries of a start grow from the first to the second.
RETRY_WAITS = (dt.timedelta(minutes=5), dt.timedelta(minutes=20))
# Times that are compared with each other: some expressions have close times in some hours only.
_COMPARED = 100
_CHANGEABLE = (
    *("name", "cron", "time_zone", "metadata"),
    *("url", "filename", "uri", "storage_version", "size_bytes"),
)
# Not the address of a file, which may hold a secret.
_AUDITED = ("name", "cron", "time_zone", "filename")


def schedules_of(workflow: Workflow) -> "QuerySet[WorkflowSchedule]":
    """Return the schedules of a workflow."""
    return WorkflowSchedule.objects.filter(
        organisation=workflow.organisation, workflow=workflow.slug
    )


def check_times(cron: str, time_zone: str) -> None:
    """Raise ValidationError, by field, unless the times can be read and are far enough apart."""
    if zone_of(time_zone) is None:
        message = _("%(zone)s is no time zone. Choose one such as Europe/Zurich.")
        raise ValidationError({"time_zone": message % {"zone": repr(time_zone[:50])}})
    if len(cron.split()) != 5:
        message = _(
            "%(cron)s has not five fields. Write minute, hour, day, month and day of the week, such as"
            " 0 7 * * 1-5."
        )
        raise ValidationError({"cron": message % {"cron": repr(cron[:100])}})
    try:
        # In UTC: a clock change would make times of other days close, or let them go back.
        times = next_times(cron, "UTC", timezone.now(), _COMPARED)
    except CronSimError as error:
        message = _("%(cron)s cannot be read: %(error)s.")
        values = {"cron": repr(cron[:100]), "error": str(error)}
        raise ValidationError({"cron": message % values}) from None
    if not times:
        message = _("%(cron)s never comes. Choose another day.")
        raise ValidationError({"cron": message % {"cron": repr(cron[:100])}})
    if any(later - sooner < MIN_INTERVAL for sooner, later in pairwise(times)):
        message = _("A schedule starts a run every %(minutes)d minutes at most.")
        minutes = MIN_INTERVAL // dt.timedelta(minutes=1)
        raise ValidationError({"cron": message % {"minutes": minutes}})


def next_times(cron: str, time_zone: str, after: dt.datetime, count: int = 1) -> list[dt.datetime]:
    """Return the next times after a moment, in the time zone. Raises CronSimError.

    A time that a clock change leaves out comes directly after it; one that comes twice counts once.
    """
    return list(islice(CronSim(cron, after.astimezone(zone_of(time_zone))), count))


def create(
    workflow: Workflow, *, user: User, file: tuple[str, bytes] | None, **fields: Any
) -> WorkflowSchedule:
    """Create a schedule from `name`, `cron`, `time_zone`, `metadata`, and `url` or a file to keep.

    Raises ValidationError and StorageError.
    """
    made = WorkflowSchedule(
        organisation=workflow.organisation, workflow=workflow.slug, created_by=user
    )
    _change(made, file, fields)
    made.next_at = _next(made)
    with transaction.atomic():
        Organisation.locked(workflow.organisation_id)
        if schedules_of(workflow).count() >= MAX_SCHEDULES:
            message = _("A workflow has at most %(count)d schedules. Delete one first.")
            raise ValidationError(message % {"count": MAX_SCHEDULES})
        of_organisation = WorkflowSchedule.objects.filter(organisation=workflow.organisation)
        check_room("schedules_per_organisation", of_organisation.count())
        made.save()
        told = {name: (None, getattr(made, name)) for name in _AUDITED}
        _record(made, "schedule.created", told)
        ids = {"actor": user.pk, "organisation": made.organisation_id}
        track(EventName.SCHEDULE_CREATED, **ids)
    return made


def change(schedule: WorkflowSchedule, *, file: tuple[str, bytes] | None, **fields: Any) -> None:
    """Change a schedule; its file stays unless an address or a file is given.

    Other times begin now. Without other times, one that has come and waits for another try is tried at
    once, because what it failed for may have been changed. Raises ValidationError and StorageError.
    """
    before = {name: getattr(schedule, name) for name in _AUDITED}
    times = schedule.cron, schedule.time_zone
    _change(schedule, file, fields)
    rows = WorkflowSchedule.objects.filter(pk=schedule.pk)
    with transaction.atomic():
        # A time may be taken, and the schedule be paused or deleted, at the same moment.
        rows.update(**{name: getattr(schedule, name) for name in _CHANGEABLE})
        rows.update(retry_at=None)
        if times != (schedule.cron, schedule.time_zone):
            rows.filter(next_at__isnull=False).update(next_at=_next(schedule))
        told = {name: (value, getattr(schedule, name)) for name, value in before.items()}
        _record(schedule, "schedule.changed", told)


@transaction.atomic
def pause(schedule: WorkflowSchedule, *, reason: str = "") -> None:
    """Start no further runs until `resume`; `reason` tells why if no member asked for it.

    A schedule that is paused keeps the reason that it has.
    """
    running = WorkflowSchedule.objects.filter(pk=schedule.pk, next_at__isnull=False)
    if running.update(next_at=None, retry_at=None, error=reason):
        _record(schedule, "schedule.paused", {"reason": ("", str(reason))})


@transaction.atomic
def resume(schedule: WorkflowSchedule, *, user: User) -> None:
    """Go on with the times after now; the runs are those of `user` from then on."""
    paused = WorkflowSchedule.objects.filter(pk=schedule.pk, next_at=None)
    if paused.update(next_at=_next(schedule), created_by=user, error=""):
        _record(schedule, "schedule.resumed")


@transaction.atomic
def delete(schedule: WorkflowSchedule) -> None:
    """Delete a schedule; its runs stay."""
    _record(schedule, "schedule.deleted")
    schedule.delete()


def run_now(schedule: WorkflowSchedule) -> WorkflowSchedule:
    """Bring the next time forward to now, and return the schedule; the times after it stay.

    Raises ValidationError for a schedule that is paused.
    """
    running = WorkflowSchedule.objects.filter(pk=schedule.pk, next_at__isnull=False)
    if not running.update(next_at=timezone.now(), retry_at=None):
        message = _("%(name)s is paused. Resume it first.")
        raise ValidationError(message % {"name": schedule.name})
    return WorkflowSchedule.objects.get(pk=schedule.pk)


def go_on(schedule: WorkflowSchedule, *, error: str = "") -> bool:
    """Take the time `schedule.next_at` and go on to the next one.

    Return whether it was still to be taken: of all that try one succeeds. `error` is why it starts no
    run.
    """
    taken = WorkflowSchedule.objects.filter(pk=schedule.pk, next_at=schedule.next_at)
    values = {"next_at": _next(schedule), "last_at": schedule.next_at, "error": error}
    return bool(taken.update(retry_at=None, **values))


def postpone(schedule: WorkflowSchedule, error: str) -> None:
    """Let the time that has come wait for another try; `error` is why.

    The waits double: each is as long as the time has waited, within RETRY_WAITS.
    """
    now = timezone.now()
    shortest, longest = RETRY_WAITS
    wait = min(max(now - (schedule.next_at or now), shortest), longest)
    waiting = WorkflowSchedule.objects.filter(pk=schedule.pk, next_at=schedule.next_at)
    waiting.update(error=error, retry_at=now + wait)


def due_schedules(now: dt.datetime) -> "QuerySet[WorkflowSchedule]":
    """Return the schedules whose time has come, or that of another try; the longest due first.

    So those that fail again and again take turns with the others.
    """
    due = WorkflowSchedule.objects.filter(
        Q(retry_at=None) | Q(retry_at__lte=now),
        next_at__lte=now,
        organisation__deletion_requested_at=None,
    )
    return due.order_by(Coalesce("retry_at", "next_at"), "pk")


def _record(
    schedule: WorkflowSchedule, action: str, changes: Mapping[str, tuple[Any, Any]] | None = None
) -> None:
    target = f"{schedule.workflow}: {schedule.name}"
    audit.record(schedule.organisation_id, action, target, changes)


def _next(schedule: WorkflowSchedule) -> dt.datetime | None:
    times = next_times(schedule.cron, schedule.time_zone, timezone.now())
    return times[0] if times else None


def _change(
    schedule: WorkflowSchedule, file: tuple[str, bytes] | None, fields: dict[str, Any]
) -> None:
    for name in ("name", "cron", "time_zone", "metadata"):
        setattr(schedule, name, fields[name])
    schedule.cron = " ".join(schedule.cron.split())
    check_times(schedule.cron, schedule.time_zone)
    url = fields["url"]
    if url and file:
        raise ValidationError({"url": _("Give an address or a file, not both.")})
    if not (url or file or schedule.pk):
        raise ValidationError({"url": _("Give the address of a file, or choose one.")})
    if url:
        _set_url(schedule, url)
    elif file:
        _set_file(schedule, *file)


def _set_url(schedule: WorkflowSchedule, url: str) -> None:
    try:
        check_address(url)
    except AddressRefused as error:
        raise ValidationError({"url": str(error)}) from None
    schedule.url = url
    schedule.filename = schedule.uri = schedule.storage_version = ""
    schedule.size_bytes = 0


def _set_file(schedule: WorkflowSchedule, name: str, content: bytes) -> None:
    if not 0 < len(content) <= MAX_FILE_BYTES:
        message = _("%(name)s has %(size)s bytes; a kept file has 1 to %(limit)s.")
        sizes = {"size": f"{len(content):,}", "limit": f"{MAX_FILE_BYTES:,}"}
        raise ValidationError({"file": message % {"name": name, **sizes}})
    uri, version, _sha256 = store_by_digest(name, content)
    schedule.url, schedule.filename = "", name
    schedule.uri, schedule.storage_version = uri, version
    schedule.size_bytes = len(content)
