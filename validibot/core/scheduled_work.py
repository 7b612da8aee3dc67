"""The register of periodic work: what `config/schedules.toml` declares, and how its last pass ended."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from cronsim import CronSim
from django.conf import settings
from django.utils import timezone

from validibot.core.models import ScheduledWork

MAX_ERROR = 500
# A pass may begin so much later than its time before the register calls it overdue.
TOLERANCE = dt.timedelta(minutes=5)


def recorded(name: str, work: Callable[[], Mapping[str, int]]) -> dict[str, int]:
    """Do a pass of periodic work and record its times, and its counts or its error.

    The caller gets the error, too.
    """
    ScheduledWork.objects.update_or_create(name=name, defaults={"started_at": timezone.now()})
    row = ScheduledWork.objects.filter(name=name)
    try:
        counts = dict(work())
    except Exception as error:
        text = f"{type(error).__name__}: {error}".replace("\0", "")[:MAX_ERROR]
        row.update(ended_at=timezone.now(), error=text)
        raise
    row.update(ended_at=timezone.now(), result=counts, error="")
    return counts


def register() -> None:
    """Add the rows of work that never ran, and remove those of work that is not declared any more."""
    names = set(declared())
    for name in names:
        ScheduledWork.objects.get_or_create(name=name)
    ScheduledWork.objects.exclude(name__in=names).delete()


def declared() -> dict[str, str]:
    """Return the declared periodic work: its cron expression (UTC) by name."""
    schedules: list[dict[str, Any]] = settings.SCHEDULES
    return {each["name"]: each["cron"] for each in schedules}


def next_time(name: str, after: dt.datetime) -> dt.datetime | None:
    """Return when the next pass begins, None for work that is not declared."""
    cron = declared().get(name)
    return next(CronSim(cron, after.astimezone(dt.UTC))) if cron else None


def is_overdue(row: ScheduledWork, now: dt.datetime) -> bool:
    """Return whether a pass should have begun since the last one."""
    due = next_time(row.name, row.started_at) if row.started_at else None
    return due is not None and due + TOLERANCE < now
