"""Clients that launch runs over HTTP and wait for their end in the same request."""

import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.flows.stack import Stack

WARM_UP = 30


@dataclass(frozen=True)
class Load:
    """Figures of one round with `clients` concurrent clients. Milliseconds from POST to the finished run."""

    clients: int
    runs: int
    seconds: float
    p50: float
    p95: float

    @property
    def rate(self) -> float:
        return self.runs / self.seconds


def measure(stack: Stack, *, clients: int, runs: int) -> Load:
    """Let `clients` launch `runs` JSON Schema runs in all, each waiting for its own end."""
    sample = stack.sample("meter-readings-schema")
    _launch_many(stack, sample, WARM_UP, [])
    times: list[float] = []
    threads = [
        threading.Thread(target=_launch_many, args=(stack, sample, runs // clients, times))
        for _ in range(clients)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    centiles = statistics.quantiles(times, n=100)
    return Load(clients, len(times), seconds, centiles[49], centiles[94])


def _launch_many(stack: Stack, sample: Path, count: int, times: list[float]) -> None:
    connection = http.client.HTTPConnection(urlsplit(stack.web).netloc, timeout=60)
    path = f"/api/v1/orgs/{stack.facts['org']}/workflows/meter-readings-schema/runs/"
    headers = {
        "Authorization": f"Bearer {stack.facts['api_key']}",
        "Content-Type": "application/octet-stream",
        "X-Filename": sample.name,
        "Prefer": "wait=30",
    }
    content = sample.read_bytes()
    for _ in range(count):
        started = time.perf_counter()
        connection.request("POST", path, body=content, headers=headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        times.append((time.perf_counter() - started) * 1000)
        if answer.status != 201 or document["result"] != "PASS":
            raise RuntimeError(f"{answer.status}: {document}")
