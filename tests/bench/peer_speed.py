"""Speed beside other emulators: the same calls of the same client to theirs and to ours, in turns.

Each emulator is a process of its own, reached on its plain port without TLS. Theirs keeps objects and
tasks in memory and asks for no rights; ours writes to disk, and checks the token and the roles. The
two are asked in turns call by call, so that what else the machine does falls on both alike. The first
figure is the wall of a call that had the processors for itself, the tenth percentile: where others wait
for them too, each wait is longer than a small call. The median is beside it. The client's own time is a
part of every call. An emulator that is not installed is left out.
"""

import http.client
import json
import os
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.cloud import storage, tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.oauth2.credentials import Credentials

from tests.bench import load
from tests.bench.peers import ROOT, storage_peers, tasks_peers

type Row = tuple[str, str, str]

TASKS = 500
_QUEUES = "projects/test-project/locations/us-west1"
_CALLER = "app@test-project.iam.gserviceaccount.com"
_ROLES = ("roles/owner", "roles/storage.admin", "roles/cloudtasks.admin")
_METADATA = "computeMetadata/v1/instance/service-accounts/default/token"


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator: its address without a scheme, its process, and a token for its clients."""

    name: str
    address: str
    pid: int
    token: str


@dataclass(frozen=True, slots=True)
class Work:
    """A call that is measured `calls` times, each with its number, after some that are not."""

    call: Callable[[int], None]
    calls: int


def measure() -> Iterator[Row]:
    """Yield a row for each figure: ours, theirs and the ratio, below 1 where ours is faster."""
    for peers, works in ((storage_peers(), _storage_works), (tasks_peers(), _tasks_works)):
        for peer in peers:
            if peer.name in ("fake-gcs-server", "cloud-tasks-emulator"):
                with ExitStack() as stack:
                    ours = stack.enter_context(_ours())
                    variables = stack.enter_context(peer.running())
                    address = variables[peer.variable].removeprefix("http://")
                    theirs = Emulator(peer.name, address, int(variables["PID"]), "none")
                    yield from _rows(ours, theirs, works)


def _rows(
    ours: Emulator, theirs: Emulator, works: Callable[[Emulator], dict[str, Work]]
) -> Iterator[Row]:
    before = os.getloadavg()[0]
    mine, other = works(ours), works(theirs)
    for name, work in mine.items():
        own, their = _in_turns((ours, work), (theirs, other[name]))
        text = (
            f"{own.least:.2f}, {their.least:.2f} ms: {own.least / their.least:.2f}; "
            f"median {own.median:.2f}, {their.median:.2f} ms; "
            f"processor of the server {own.processor:.2f}, {their.processor:.2f} ms "
            f"(load {before:.0f})"
        )
        yield f"{name}: ours, {theirs.name}, ratio", text, "≤ 1"


@dataclass(frozen=True, slots=True)
class CallTimes:
    """Milliseconds of one call: walls, and the mean of the server's processor time."""

    least: float
    median: float
    processor: float


def _in_turns(*sides: tuple[Emulator, Work]) -> list[CallTimes]:
    walls: list[list[float]] = [[] for _ in sides]
    calls = sides[0][1].calls
    for _, work in sides:
        for number in range(max(1, calls // 10)):
            work.call(number)
    spent = [_processor(emulator) for emulator, _ in sides]
    for number in range(calls):
        order = range(len(sides)) if number % 2 else reversed(range(len(sides)))
        for side in order:
            began = time.perf_counter()
            sides[side][1].call(number)
            walls[side].append(1000 * (time.perf_counter() - began))
    spent = [_processor(emulator) - one for (emulator, _), one in zip(sides, spent, strict=True)]
    return [
        CallTimes(statistics.quantiles(times, n=10)[0], statistics.median(times), one / calls)
        for times, one in zip(walls, spent, strict=True)
    ]


def _processor(emulator: Emulator) -> float:
    return sum(map(load.milliseconds, load.family(emulator.pid)))


def _storage_works(emulator: Emulator) -> dict[str, Work]:
    """Return the work of each row, in a bucket of its own with 100 objects."""
    client = storage.Client(
        project="test-project",
        credentials=Credentials(emulator.token),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": f"http://{emulator.address}"},
    )
    bucket = client.create_bucket("bench")
    small, large = os.urandom(1024), os.urandom(10 << 20)

    def up(data: bytes, calls: int) -> Work:
        return Work(lambda n: bucket.blob(f"of-{len(data)}/{n}").upload_from_string(data), calls)

    def down(data: bytes, calls: int) -> Work:
        def call(number: int) -> None:
            assert bucket.blob(f"of-{len(data)}/{number}").download_as_bytes() == data

        return Work(call, calls)

    def lists(_number: int) -> None:
        assert sum(1 for _ in client.list_blobs(bucket, prefix="listed/")) == 100

    for number in range(100):
        bucket.blob(f"listed/{number}").upload_from_string(small)
    return {
        "upload of 1 KB": up(small, 500),
        "download of 1 KB": down(small, 500),
        "upload of 10 MB": up(large, 16),
        "download of 10 MB": down(large, 16),
        "list of 100 objects": Work(lists, 100),
    }


def _tasks_works(emulator: Emulator) -> dict[str, Work]:
    """Return the work of the row: create tasks with a token, and wait for the last delivery."""
    channel = grpc.insecure_channel(emulator.address)
    client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
    metadata = (("authorization", f"Bearer {emulator.token}"),)
    # A queue sends 100 at once and then 500 a second, by the rules of both: none is to wait for that.
    queues = [f"{_QUEUES}/queues/bench-{number}" for number in range(TASKS // 100)]
    for queue in queues:
        client.create_queue(
            request={"parent": _QUEUES, "queue": {"name": queue}}, metadata=metadata
        )
    target = _Target()
    token = {"service_account_email": _CALLER, "audience": "https://worker.example"}
    task = {"http_request": {"url": target.url, "oidc_token": token, "body": b"{}"}}

    def deliver(_number: int) -> None:
        target.expect(TASKS)
        for queue in queues * 100:
            client.create_task(request={"parent": queue, "task": task}, metadata=metadata)
        target.wait()

    return {f"{TASKS} tasks with tokens, to the last delivery": Work(deliver, 15)}


class _Target:
    """A server that counts deliveries; it parses no more than the length, to take little time."""

    def __init__(self) -> None:
        self._left, self._done = 0, threading.Event()
        target = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline():
                    length = 0
                    while line := self.rfile.readline().strip():
                        name, _, value = line.partition(b":")
                        length = int(value) if name.lower() == b"content-length" else length
                    self.rfile.read(length)
                    self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    target.count()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, request_queue_size = True, 128

        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def expect(self, count: int) -> None:
        self._left = count
        self._done.clear()

    def count(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._done.set()

    def wait(self) -> None:
        assert self._done.wait(120), f"{self._left} tasks were not delivered"


@contextmanager
def _ours() -> Iterator[Emulator]:
    """Run the emulated cloud, and yield it with a token of an account that may do everything."""
    bindings = [{"member": "app", "role": role} for role in _ROLES]
    config = {"gcp": {"project": "test-project", "accounts": ["app"], "bindings": bindings}}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "stack.json").write_text(json.dumps(config))
        module = (sys.executable, "-m", "devenv.gcp", "--config", "stack.json", "--data", "gcp")
        with (place / "log").open("w") as out:
            process = subprocess.Popen(
                module, cwd=place, stdout=out, stderr=out, env=_environ(place)
            )
        try:
            endpoints = place / "gcp" / "endpoints.json"
            for _ in range(600):
                if endpoints.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            assert endpoints.exists(), (place / "log").read_text()
            found: dict[str, Any] = json.loads(endpoints.read_text())
            host = found["environ"]["app"]["GCE_METADATA_HOST"]
            yield Emulator(
                "ours", found["plain"].removeprefix("http://"), process.pid, _token(host)
            )
        finally:
            process.terminate()
            process.wait()


def _environ(place: Path) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": str(place), "PYTHONPATH": str(ROOT)}


def _token(host: str) -> str:
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", f"/{_METADATA}", headers={"Metadata-Flavor": "Google"})
    return str(json.loads(connection.getresponse().read())["access_token"])


if __name__ == "__main__":
    for row in measure():
        print("| " + " | ".join(row) + " |", flush=True)  # noqa: T201 - this is what it is for
