"""Command that runs the tasks of the database queue until a signal stops it."""

import argparse
import asyncio
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task_backends

from validibot.dispatch.database.backend import DatabaseBackend
from validibot.dispatch.database.worker import QueueWorker

HEALTH_PATH = "/health/"
# Connections of a worker in addition to those of its tasks.
_SPARE = 2

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    requires_system_checks = ()  # `release` runs them
    help = (
        "Run the tasks of the queue. SIGTERM or Ctrl-C stops it gracefully, a second one at once."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--concurrency", type=_one_to_hundred, default=4, help="tasks at the same time (4)"
        )
        parser.add_argument(
            "--health-port", type=int, help=f"serve GET {HEALTH_PATH} there (0: any free port)"
        )
        parser.add_argument(
            "--health-host", default="127.0.0.1", help="address to serve it on (127.0.0.1)"
        )
        parser.add_argument(
            "--shutdown-timeout",
            type=float,
            default=8.0,
            help="seconds for running tasks to end after a signal; then they are put back (8)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        backend = task_backends[DEFAULT_TASK_BACKEND_ALIAS]
        if not isinstance(backend, DatabaseBackend):
            raise CommandError(
                f"TASKS['default'] is {type(backend).__name__}, which does not use this worker."
                " Set TASK_QUEUE=database to use the database queue."
            )
        _check_pool(options["concurrency"])
        worker = asyncio.run(_work(backend, options))
        if worker.running:
            logger.warning("%d tasks took too long to stop and are put back", len(worker.running))
            logging.shutdown()
            # Python would wait for their threads, which cannot be stopped.
            os._exit(0)


def _check_pool(concurrency: int) -> None:
    """Refuse a concurrency that needs more connections than the pool has.

    Each task takes a connection, and so do renewing leases and freeing orphans.
    """
    pool = connection.settings_dict["OPTIONS"].get("pool") or {}
    largest = pool.get("max_size", concurrency + _SPARE)
    if concurrency + _SPARE > largest:
        raise CommandError(
            f"--concurrency {concurrency} needs {concurrency + _SPARE} connections, but the pool has"
            f" {largest}. Set DATABASE_POOL to {concurrency + _SPARE}, or lower --concurrency."
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
    address = (options["health_host"], options["health_port"])
    with nullcontext() if address[1] is None else health_server(worker, loop, address):
        await worker.run()
    return worker


@contextmanager
def health_server(
    worker: QueueWorker, loop: asyncio.AbstractEventLoop, address: tuple[str, int]
) -> Iterator[int]:
    """Serve the worker's health in a thread; yield its port. Port 0 means any free port."""

    class HealthHandler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != HEALTH_PATH:
                self._answer(404, f"Only {HEALTH_PATH} is served.")
                return
            fault = asyncio.run_coroutine_threadsafe(worker.fault(), loop).result(5)
            self._answer(503 if fault else 200, fault or "ok")

        def _answer(self, status: int, text: str) -> None:
            body = json.dumps({"status": text}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Log no request: probes come every few seconds."""

    with ThreadingHTTPServer(address, HealthHandler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        logger.info("health at http://%s:%d%s", address[0], server.server_port, HEALTH_PATH)
        try:
            yield server.server_port
        finally:
            server.shutdown()


def _one_to_hundred(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100.")
    return number
