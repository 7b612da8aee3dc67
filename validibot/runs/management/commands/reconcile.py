"""Sweep for lost runs, as the scheduler makes the worker do every minute."""

import argparse
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from validibot.core.commands import ReportingCommand
from validibot.core.scheduled_work import recorded
from validibot.runs.sweep import run_sweep

logger = logging.getLogger(__name__)


class Command(ReportingCommand):
    help = "Look for runs and executions that were lost, and go on with them."
    json_help = "print one line of JSON for each sweep"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--every", type=_seconds, metavar="SECONDS", help="again and again, until SIGTERM"
        )
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["every"] is None:
            touched = _sweep()
            self.report(options, touched, _told(touched))
            return
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())

        def report(touched: dict[str, int]) -> None:
            self.report(options, touched, "")

        repeat(stopping, every=options["every"], say=report if options["json"] else _log)


def _log(touched: dict[str, int]) -> None:
    logger.info(_told(touched))


def repeat(
    stopping: threading.Event,
    *,
    every: float,
    say: Callable[[dict[str, int]], object] = _log,
) -> None:
    """Sweep until told to stop, through every outage of the database; `say` each result."""
    while not stopping.is_set():
        try:
            say(_sweep())
        except (DatabaseError, InterfaceError) as error:
            logger.warning("the database cannot be reached: %s", error)
        finally:
            connection.close()
        stopping.wait(every)


def _sweep() -> dict[str, int]:
    return recorded("reconcile", run_sweep)


def _told(touched: dict[str, int]) -> str:
    return (
        f"{touched['enqueued']} runs enqueued, {touched['looked_at']} executions looked at, "
        f"{touched['cancelled']} cancellations repeated, {touched['scheduled']} schedules due"
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 3600.")
    return seconds
