"""The emulated cloud alone: time until it is ready, memory when idle, overhead of a job."""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig, IamBinding, ImageConfig, JobConfig
from tests.bench import load
from tests.bench.memory import pss, rss
from tests.checkout import ROOT

type Row = tuple[str, str, str]

STARTS, EXECUTIONS, IDLE_SECONDS = 5, 30, 5
CONFIG = CloudConfig(
    project="bench",
    accounts=("app",),
    bindings=(IamBinding("app", "roles/owner"),),
    images=(ImageConfig("job:1", ("true",)),),
    jobs=(JobConfig("job", "job:1", "app"),),
)
DECLARED = """
[gcp]
project = "bench-project"
accounts = [ "app" ]
buckets = [ "files" ]
bindings = [ { member = "app", role = "roles/owner" } ]

[[gcp.queues]]
name = "queue"
"""


def measure() -> Iterator[Row]:
    """Yield the figures of a cloud that runs as a program, then those of its jobs."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _program(Path(folder))
    yield _job()


def _program(folder: Path) -> Iterator[Row]:
    (folder / "devenv.toml").write_text(DECLARED)
    first = _start(folder)  # makes the keys and the CA, which are kept
    first.kill()
    first.wait()
    seconds, spent = [], []
    for _ in range(STARTS):
        started = time.perf_counter()
        program = _start(folder)
        seconds.append(time.perf_counter() - started)
        spent.append(load.milliseconds(program.pid) / 1000)
        if len(seconds) < STARTS:
            program.terminate()
            program.wait()
    wall, processor = statistics.median(seconds), statistics.median(spent)
    text = f"{wall:.2f} s ({processor:.2f} s of processor time)"
    yield f"emulated cloud, ready: median of {STARTS} starts", text, "≤ 1.0 s"
    time.sleep(IDLE_SECONDS)
    size = f"{pss(program.pid):.0f} MB (RSS {rss(program.pid):.0f} MB)"
    yield "emulated cloud, idle memory with all services (PSS)", size, "≤ 120 MB"
    program.terminate()
    program.wait()


def _start(folder: Path) -> subprocess.Popen[str]:
    """Start the program, and return when it has said that it is ready."""
    config, data = folder / "devenv.toml", folder / "data"
    program = subprocess.Popen(
        [sys.executable, "-m", "devenv.gcp", "--config", str(config), "--data", str(data)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    while not program.stdout.readline().startswith("ready in"):
        assert program.poll() is None
    return program


def _job() -> Row:
    """Return what a job takes beside its program, which is `true`."""
    bare = statistics.median(_timed(lambda: subprocess.run(["true"], check=True)))
    with Cloud(CONFIG) as cloud:
        connection = http.client.HTTPConnection(urlsplit(cloud.plain_url).netloc)
        headers = {"Authorization": f"Bearer {cloud.access_token('app')}"}

        def post(path: str, **body: Any) -> dict[str, Any]:
            connection.request("POST", path, json.dumps(body), headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer

        def run() -> None:
            started = post(f"/v2/projects/bench/locations/{CONFIG.region}/jobs/job:run")
            ended = post(f"/v2/{started['name']}:wait", timeout="10s")
            assert ended["response"]["succeededCount"] == 1, ended

        job = statistics.median(_timed(run))
        connection.close()
    name = f"emulated job, `RunJob` to its end: median of {EXECUTIONS}, without its program"
    return name, f"{(job - bare) * 1000:.0f} ms", "≤ 60 ms"


def _timed(work: Any) -> list[float]:
    times = []
    for _ in range(EXECUTIONS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    for row in measure():
        print("| " + " | ".join(row) + " |")  # noqa: T201 - this is what it is for
