"""One host with a Procfile: a database, a folder, and honcho in place of a platform."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings

from devenv.services.builtin import postgres_binaries
from tests import forked, guardian
from tests.checkout import ROOT
from tests.database import PRISTINE
from tests.waiting import LIMIT, until

PROGRAMS = Path(sys.executable).parent
API_KEY = f"vbk_1_{'1' * 32}_{'2' * 64}"


@dataclass(frozen=True)
class Host:
    """The variables of a Procfile's processes, and a way to run them."""

    folder: Path
    database_url: str
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{PROGRAMS}:{postgres_binaries()}:{os.defpath}",
            "HOME": str(self.folder),
            "SPT_NOENV": "1",  # a process title must not overwrite the environment that `pids` reads
            "DJANGO_SETTINGS_MODULE": "config.settings.host",
            "ALLOWED_HOSTS": "localhost",
            "API_KEY_PEPPER": "p" * 50,
            "DATABASE_POOL": "6",
            "DATABASE_URL": self.database_url,
            "DATA_ROOT": self.files.as_uri(),
            "DEFAULT_FROM_EMAIL": "runs@validibot.example",
            "DEMO_API_KEY": API_KEY,
            "DEMO_EMAIL": "demo@validibot.example",
            "DEMO_PASSWORD": "correct-horse-battery",
            "DJANGO_SECRET_KEY": "s" * 25 + "0123456789-abcdefghijklmnopqrst",
            "EMAIL_HOST": "localhost",
            "EXECUTION_BACKEND": "subprocess",
            "ALLOW_SUBPROCESS": "1",
            "LOG_FORMAT": "logfmt",
            "SEED_FILE": str(self.folder / "seed.json"),
            "SITE_URL": "https://validibot.example",
            "STATIC_ROOT": str(self.folder / "static"),
            # Files of a killed worker's validators are removed with the folder.
            "TMPDIR": str(self.folder),
            **guardian.variables(),
            **self.more,
        }

    def manage(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return forked.python("manage.py", *arguments, environ=self.environ | variables)

    @contextmanager
    def start(self, *processes: str, port: int = 0, **variables: str) -> "Iterator[Runner]":
        """Run processes such as `web=2` until the first one ends."""
        runner = Runner(self, processes, port=port, variables=variables)
        try:
            yield runner
        finally:
            runner.kill()

    def pids(self, words: str = "", *, told: str = "") -> list[int]:
        """Return the processes of this host with `words` in their command and `told` in their log."""
        found = []
        mark = (told or f"DATA_ROOT={self.files.as_uri()}").encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                is_ours = mark in (process / "environ").read_bytes().split(b"\0")
                if is_ours and words in command and "honcho" not in command:
                    found.append(int(process.name))
        return found

    def sample(self, slug: str) -> Path:
        workflows = json.loads((self.folder / "seed.json").read_text())["workflows"]
        return Path(next(each["sample"] for each in workflows if each["slug"] == slug))


class Runner:
    """A running honcho. Its processes end with it."""

    def __init__(
        self, host: Host, processes: tuple[str, ...], *, port: int, variables: Mapping[str, str]
    ) -> None:
        self.host, self.port = host, port
        self.mark = f"RUNNER={time.monotonic_ns()}"
        names = [each.partition("=")[0] for each in processes]
        self.log = host.folder / f"{'-'.join(names)}-{self.mark}.log"
        counts = ",".join(each if "=" in each else f"{each}=1" for each in processes)
        arguments = ["start", "--no-colour", "-e", os.devnull, "-c", counts, "-p", str(port)]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [PROGRAMS / "honcho", *arguments, *names],
                cwd=ROOT,
                env={**host.environ, **variables, "RUNNER": self.mark.removeprefix("RUNNER=")},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Return the exit code once all processes have ended."""
        until(lambda: self.process.poll() is not None and not self.host.pids(told=self.mark))
        return self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        for pid in self.host.pids(told=self.mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


class Site:
    """Client of a web process that sends requests as a platform's router does."""

    def __init__(self, port: int) -> None:
        self.client = httpx.Client(
            base_url=f"http://localhost:{port}",
            headers={"X-Forwarded-Proto": "https", "Authorization": f"Bearer {API_KEY}"},
            timeout=2 * LIMIT,
            trust_env=False,
        )
        self.api = "/api/v1/orgs/demo"

    def is_up(self) -> bool:
        try:
            return self.client.get("/health/").is_success
        except httpx.HTTPError:
            return False

    def launch(self, slug: str, sample: Path, **headers: str) -> httpx.Response:
        told = {"X-Filename": sample.name, "Content-Type": "application/octet-stream"} | headers
        url = f"{self.api}/workflows/{slug}/runs/"
        return self.client.post(url, content=sample.read_bytes(), headers=told)

    def run(self, pk: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"{self.api}/runs/{pk}/").raise_for_status().json()
        return found

    def events(self, pk: str) -> list[str]:
        found = (
            self.client.get(f"{self.api}/runs/{pk}/events/?page_size=200")
            .raise_for_status()
            .json()["results"]
        )
        return [event["kind"] for event in found]

    def finished(self, slug: str, sample: Path) -> dict[str, Any]:
        """Launch a file and return the finished run."""
        pk = self.launch(slug, sample, Prefer="wait=60").json()["id"]
        self.result(pk)
        return self.run(pk)

    def result(self, pk: str) -> str:
        until(lambda: self.run(pk)["state"] == "COMPLETED", every=0.25)
        return str(self.run(pk)["result"])


@contextmanager
def site(port: int) -> Iterator[Site]:
    """Wait until a web process answers; yield its client."""
    made = Site(port)
    until(made.is_up)
    try:
        yield made
    finally:
        made.client.close()


@contextmanager
def database(server: Mapping[str, str], name: str, *, template: str = PRISTINE) -> Iterator[str]:
    """Yield the URL of a database of its own on the server of the tests: a migrated one by default."""
    at = settings.DATABASES["default"] | server
    url = f"postgres://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode()
        connection.execute(drop)
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        yield f"{url}/{name}"
        connection.execute(drop)


@pytest.fixture(scope="session")
def host(
    database_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """A host after the `release` process of the Procfile."""
    folder = tmp_path_factory.mktemp("host")
    with database(database_server, f"host_{os.getpid()}") as url:
        made = Host(folder, url)
        collected = made.manage(
            "collectstatic", "--no-input", DJANGO_SETTINGS_MODULE="config.settings.build"
        )
        assert collected.returncode == 0, collected.stderr
        with made.start("release") as release:
            assert release.ended() == 0, release.log.read_text()
        yield made
        until(lambda: made.pids() == [])
