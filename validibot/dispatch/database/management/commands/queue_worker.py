"""Work on the tasks of the database queue until a signal says stop."""

import argparse
import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task_backends

from validibot.dispatch.database.backend import DatabaseBackend
from validibot.dispatch.database.health import PATH, health
from validibot.dispatch.database.worker import QueueWorker

# Connections of a worker beside those of its tasks.
_SPARE = 2

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Work on the tasks of the queue; SIGTERM and Ctrl-C stop it politely, the second at once."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--concurrency", type=_whole, default=4, help="tasks at the same time (4)"
        )
        parser.add_argument(
            "--health-port", type=int, help=f"answer GET {PATH} there (0: any free port)"
        )
        parser.add_argument(
            "--health-host", default="127.0.0.1", help="0.0.0.0 where others ask (127.0.0.1)"
        )
        parser.add_argument(
            "--shutdown-timeout",
            type=float,
            default=8.0,
            help="seconds for what runs when told to stop; what takes longer is put back (8)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        backend = _backend()
        _check_pool(options["concurrency"])
        worker = asyncio.run(_work(backend, options))
        if worker.busy.count:
            logger.warning("%d tasks took too long to stop and are put back", worker.busy.count)
            logging.shutdown()
            # Their threads cannot be stopped, and Python would wait for them.
            os._exit(0)


def _backend() -> DatabaseBackend:
    backend = task_backends[DEFAULT_TASK_BACKEND_ALIAS]
    if not isinstance(backend, DatabaseBackend):
        name = type(backend).__name__
        raise CommandError(
            f"TASKS['default'] is {name}, which needs no worker of this kind."
            " Set TASK_QUEUE=database to let tasks wait in the database."
        )
    return backend


def _check_pool(concurrency: int) -> None:
    """Each task at work takes a connection; so do the leases of runs, and looking after others."""
    pool = connection.settings_dict["OPTIONS"].get("pool") or {}
    most = pool.get("max_size", concurrency + _SPARE)
    if concurrency + _SPARE > most:
        raise CommandError(
            f"--concurrency {concurrency} needs {concurrency + _SPARE} connections, and there are"
            f" {most}. Set DATABASE_POOL to {concurrency + _SPARE}, or ask for less."
        )


async def _work(backend: DatabaseBackend, options: dict[str, Any]) -> QueueWorker:
    worker = QueueWorker(
        backend.settings,
        concurrency=options["concurrency"],
        shutdown_timeout=options["shutdown_timeout"],
    )
    loop = asyncio.get_running_loop()

    def stop() -> None:
        worker.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    async with AsyncExitStack() as stack:
        if options["health_port"] is not None:
            asked = health(
                worker.complaint, host=options["health_host"], port=options["health_port"]
            )
            port = await stack.enter_async_context(asked)
            logger.info("health at http://%s:%d%s", options["health_host"], port, PATH)
        await worker.run()
    return worker


def _whole(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100.")
    return number
