"""Workers of the database queue as processes of their own, on the database of the test."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


def until(question: Callable[[], object], *, seconds: float) -> float:
    """Ask until the answer is true; return how long that took."""
    started = time.monotonic()
    while not question():
        assert time.monotonic() - started < seconds, f"not true within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


@dataclass
class Worker:
    """One `manage.py queue_worker`."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @cached_property
    def url(self) -> str:
        until(lambda: "health at" in self.log.read_text(), seconds=30)
        (url,) = re.findall(r"health at (\S+?)\"", self.log.read_text())
        return str(url)

    def health(self) -> tuple[int, str]:
        answer = httpx.get(self.url, timeout=10)
        return answer.status_code, answer.json()["status"]

    def serves(self) -> "Worker":
        until(lambda: self.health()[0] == 200, seconds=30)
        return self

    def told(self, words: str) -> list[str]:
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line["message"] for line in lines if words in line["message"]]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, *, seconds: float = 20) -> int:
        return self.process.wait(seconds)


@dataclass
class Crew:
    """All workers of a test."""

    folder: Path
    workers: list[Worker]

    def hire(self, *, concurrency: int = 2, shutdown_timeout: float = 5) -> Worker:
        log = self.folder / f"worker-{len(self.workers)}.log"
        options = ("--health-port", "0", "--concurrency", str(concurrency))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "manage.py", "queue_worker", *options),
                    *("--shutdown-timeout", str(shutdown_timeout)),
                ],
                cwd=ROOT,
                env=_environ(),
                stdout=output,
                stderr=output,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def told(self, words: str) -> list[str]:
        return [line for worker in self.workers for line in worker.told(words)]


@contextmanager
def crew(folder: Path) -> Iterator[Crew]:
    made = Crew(folder, [])
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.process.kill()
            worker.process.wait(10)


def _environ() -> dict[str, str]:
    at = connection.settings_dict
    where = f"{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"
    return dict(os.environ) | {  # noqa: TID251 - a test hands it on
        "DJANGO_SETTINGS_MODULE": "tests.flows.queue_settings",
        "TASK_QUEUE": "database",
        "DATABASE_URL": f"postgres://{where}",
        "APP_ROLE": "worker",
    }
