"""Command `clock`: do all periodic work when its time comes, where no scheduler and no queue does."""

import datetime as dt
import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from django.tasks import Task
from django.utils import timezone
from django.utils.module_loading import import_string

from validibot.core.models import ScheduledWork
from validibot.core.scheduled_work import next_time

LOOK_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Do all periodic work (config/schedules.toml) when its time comes, until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        began = timezone.now()
        while not stopping.wait(LOOK_SECONDS):
            do_due(began)


def do_due(began: dt.datetime) -> list[str]:
    """Do the work whose time has come since its last pass, or since `began`; return its names.

    Work that fails, and an outage of the database, is logged and tried again at its next time.
    """
    done = []
    try:
        passes = dict(ScheduledWork.objects.values_list("name", "started_at"))
        for each in settings.SCHEDULES:
            due = next_time(each["name"], passes.get(each["name"]) or began)
            if due and due <= timezone.now():
                done.append(each["name"])
                _do(each["name"], import_string(each["task"]))
    except Exception:
        logger.exception("periodic work cannot be looked up")
    finally:
        connection.close()
    return done


def _do(name: str, task: Task[..., Any]) -> None:
    try:
        task.call()
    except Exception:
        logger.exception("periodic work %s failed", name)
