"""Wait until nothing of an installation under maintenance is in progress any more."""

import time
from collections.abc import Callable

from django.apps import apps
from django.utils import timezone

from validibot.core import maintenance
from validibot.dispatch.models import DeadLetter
from validibot.runs.models import Attempt, Run
from validibot.runs.states import ACTIVE_ATTEMPT, RunStatus
from validibot.setup.moving import MoveError

_PAUSE_SECONDS = 2.0


def in_progress() -> dict[str, int]:
    """Return counts of what another installation could not go on with: it must end here."""
    held = Run.objects.filter(status=RunStatus.RUNNING, lease_expires_at__gt=timezone.now())
    counts = {
        "runs that a worker holds": held.count(),
        "executions of validators": Attempt.objects.filter(state__in=ACTIVE_ATTEMPT).count(),
        "executions to cancel": Attempt.objects.filter(
            cancel_requested_at__isnull=False, execution_ended_at=None
        ).count(),
    }
    if apps.is_installed("validibot.dispatch.database"):
        tasks = apps.get_model("queue", "QueuedTask")
        counts["tasks that a worker runs"] = tasks.objects.filter(status=tasks.RUNNING).count()
    return {name: count for name, count in counts.items() if count}


def waiting() -> dict[str, int]:
    """Return counts of what waits, and moves with the database."""
    unfinished = (RunStatus.PENDING, RunStatus.RUNNING)
    counts = {
        "unfinished runs": Run.objects.filter(status__in=unfinished).count(),
        "dead letters": DeadLetter.objects.count(),
    }
    if apps.is_installed("validibot.dispatch.database"):
        counts["tasks in the queue"] = apps.get_model("queue", "QueuedTask").objects.count()
    return {name: count for name, count in counts.items() if count}


def drain(
    *,
    seconds: float,
    progress: Callable[[dict[str, int]], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when nothing is in progress. Raises MoveError after `seconds`, or without maintenance."""
    if not maintenance.is_on():
        raise MoveError(
            "The site is open, so that new work arrives. Close it first: manage.py maintenance on"
        )
    end = clock() + seconds
    while left := in_progress():
        if clock() >= end:
            listed = ", ".join(f"{count} {name}" for name, count in left.items())
            raise MoveError(
                f"After {seconds:.0f} s there are still {listed}. Repeat the command, or cancel these"
                " runs on their pages after `manage.py maintenance off`."
            )
        progress(left)
        sleep(_PAUSE_SECONDS)
