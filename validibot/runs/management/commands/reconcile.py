"""Sweep for lost runs, as the scheduler makes the worker do every minute."""

import argparse
import json
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from validibot.core.scheduled_work import recorded
from validibot.runs.sweep import run_sweep

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Look for runs and executions that were lost, and go on with them."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--every", type=_seconds, metavar="SECONDS", help="again and again, until SIGTERM"
        )

        parser.add_argument(
            "--json", action="store_true", help="print one line of JSON for each sweep"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["every"] is None:
            self.stdout.write(_sweep(as_json=options["json"]))
            return
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        say = self.stdout.write if options["json"] else logger.info
        repeat(stopping, every=options["every"], as_json=options["json"], say=say)


def repeat(
    stopping: threading.Event,
    *,
    every: float,
    as_json: bool = False,
    say: Callable[[str], object] = logger.info,
) -> None:
    """Sweep until told to stop, through every outage of the database; `say` each result."""
    while not stopping.is_set():
        try:
            say(_sweep(as_json=as_json))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the database cannot be reached: %s", error)
        finally:
            connection.close()
        stopping.wait(every)


def _sweep(*, as_json: bool) -> str:
    touched = recorded("reconcile", run_sweep)
    if as_json:
        return json.dumps(touched)
    return (
        f"{touched['enqueued']} runs enqueued, {touched['looked_at']} executions looked at, "
        f"{touched['cancelled']} cancellations repeated, {touched['scheduled']} schedules due"
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 3600.")
    return seconds
