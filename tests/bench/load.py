"""Clients that start runs over HTTP and wait for their end, in the same request or by polling."""

import http.client
import json
import os
import statistics
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WARM_UP = 30
POLL_SECONDS = 0.02
WORKFLOW = "meter-readings-schema"


@dataclass(frozen=True)
class Target:
    """The API that is measured. `status` is what `devenv status --json` prints."""

    status: dict[str, Any]

    @property
    def sample(self) -> Path:
        """The file that the runs get; JSON Schema passes it."""
        (found,) = [each for each in self.status["workflows"] if each["slug"] == WORKFLOW]
        return Path(found["sample"])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.status["urls"]["web"]).netloc, timeout=60)


@dataclass(frozen=True)
class Load:
    """Figures of one round. Milliseconds from POST to the finished run."""

    clients: int
    runs: int
    seconds: float
    p50: float
    p95: float

    @property
    def rate(self) -> float:
        return self.runs / self.seconds


def measure(target: Target, *, clients: int, runs: int, poll: bool = False) -> Load:
    """Let `clients` start `runs` JSON Schema runs in all, each waiting for its own end."""
    _start_many(target, WARM_UP, poll, [])
    times: list[float] = []
    threads = [
        threading.Thread(target=_start_many, args=(target, runs // clients, poll, times))
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


def _start_many(target: Target, count: int, poll: bool, times: list[float]) -> None:
    connection = target.connect()
    path = f"/api/v1/orgs/{target.status['org']}/workflows/{WORKFLOW}/runs/"
    key = {"Authorization": f"Bearer {target.status['api_key']}"}
    headers = key | {"Content-Type": "application/octet-stream", "X-Filename": target.sample.name}
    if not poll:
        headers["Prefer"] = "wait=30"
    content = target.sample.read_bytes()

    def ask(method: str, path: str, **arguments: Any) -> dict[str, Any]:
        connection.request(method, path, **arguments)
        answer = connection.getresponse()
        document: dict[str, Any] = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(f"{answer.status}: {document}")
        return document

    for _ in range(count):
        started = time.perf_counter()
        document = ask("POST", path, body=content, headers=headers)
        while document["state"] != "COMPLETED":
            time.sleep(POLL_SECONDS)
            document = ask("GET", document["url"], headers=key)
        times.append((time.perf_counter() - started) * 1000)
        if document["result"] != "PASS":
            raise RuntimeError(f"not passed: {document}")


def family(root: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with suppress(FileNotFoundError):  # the thread has ended
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def processor(target: Target) -> dict[str, float]:
    """Return the processor time of each service so far, in milliseconds."""
    services = target.status["services"]
    pids = {name: one["pid"] for name, one in services.items() if one.get("pid")}
    return {name: sum(map(milliseconds, family(pid))) for name, pid in pids.items()}


def milliseconds(pid: int) -> float:
    """Return the processor time of one process so far; 0 if it has ended."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except FileNotFoundError:
        return 0.0
    return sum(map(int, ticks)) * 1000 / os.sysconf("SC_CLK_TCK")
