"""Runs that wait because their organisation has as many under way as it may have at once.

The number is set for the organisation, or for all by the site settings. A run above it is held: it has
no queue entry, and no worker takes it. The end of a run of the organisation starts the one that was held
first, in the same transaction. So an organisation has at most its number of runs in the common queue,
and others have their turn however many runs it starts.

Starts and ends lock the row of the organisation, before anything else that they share: the second one
sees the changes of the first, and no end overlooks a run that is being held. The sweep starts the runs
that a changed limit allows (`start_all_held`).
"""

import datetime as dt
from functools import partial

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from validibot.runs import queue
from validibot.runs.events import record
from validibot.runs.models import Run, RunEvent
from validibot.runs.states import RunStatus

UNFINISHED = (RunStatus.PENDING, RunStatus.RUNNING)
_HELD = Q(status=RunStatus.PENDING, held_at__isnull=False)
_LOCK = """
SELECT coalesce(own.concurrent_runs, site.concurrent_runs_per_organisation, 0)
FROM accounts_organisation own LEFT JOIN core_sitesettings site ON true
WHERE own.id = %s FOR NO KEY UPDATE OF own
"""


def under_way(organisation_id: int) -> "QuerySet[Run]":
    """Return the runs that count: those that have not ended and are not held."""
    return Run.objects.filter(
        organisation_id=organisation_id, status__in=UNFINISHED, held_at__isnull=True
    )


def held_runs(organisation_id: int) -> "QuerySet[Run]":
    """Return the runs that are held, in the order in which they are to be started."""
    held = Run.objects.filter(_HELD, organisation_id=organisation_id)
    return held.order_by("held_at", "pk")


def places_before(run: Run) -> dict[str, int]:
    """Return how many runs of the organisation are `under_way`, and are held `ahead` of a held run."""
    unfinished = Run.objects.filter(organisation=run.organisation_id, status__in=UNFINISHED)
    return unfinished.aggregate(
        under_way=Count("pk", filter=Q(held_at=None)),
        ahead=Count("pk", filter=Q(held_at__lt=run.held_at)),
    )


def held_since(organisation_id: int) -> dt.datetime | None:
    """Return the moment from which on a new run is held, if it has to be.

    It is held, too, behind runs that wait although a raised limit has a place for them: after the commit
    those start first. Call it in the transaction that creates the run; others of the organisation wait
    for its end.
    """
    limit = _locked_limit(organisation_id)
    if 0 < limit <= under_way(organisation_id)[:limit].count():
        return timezone.now()
    if held_runs(organisation_id).exists():
        transaction.on_commit(partial(start_held, organisation_id), robust=True)
        return timezone.now()
    return None


def start_held(organisation_id: int) -> int:
    """Enqueue as many held runs as have a place now; return the number."""
    with transaction.atomic():
        limit = _locked_limit(organisation_id)
        # One that somebody is about to cancel is left out, and not waited for.
        held = held_runs(organisation_id).select_for_update(skip_locked=True, no_key=True)
        if limit:
            free = max(0, limit - under_way(organisation_id).count())
            held = held[:free]
        runs = list(held)
        now = timezone.now()
        for run in runs:
            run.held_at, run.enqueued_at = None, now
            record(run.pk, RunEvent(kind="queued"))
            queue.enqueue_run(run)
        Run.objects.bulk_update(runs, ["held_at", "enqueued_at"])
    return len(runs)


def start_all_held() -> int:
    """Enqueue the held runs that have a place, of one organisation after the other."""
    organisations = Run.objects.filter(_HELD).order_by().values_list("organisation", flat=True)
    return sum(start_held(pk) for pk in organisations.distinct())


def _locked_limit(organisation_id: int) -> int:
    """Lock the organisation until the end of the transaction; return its limit, 0 for none."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [organisation_id])
        row = cursor.fetchone()
    return int(row[0]) if row else 0
