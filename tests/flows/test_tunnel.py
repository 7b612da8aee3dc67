"""Tunnel mode with `ssh -R` to a host in a network namespace, where the emulated cloud is.

Web, worker and gate run here as on a laptop. Queue, jobs, bucket and scheduler are on the far side
and reach them only by the public URL.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devenv.environment import machine
from tests.checkout import ROOT
from tests.flows import far as fars, prepared, stack as stacks
from tests.flows.far import Far
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("tunnel")

PROJECT = "validibot-local"
FMU = "fmu-decay"
_TUNNEL = """
[tunnel]
provider = "ssh"
url = "{far.url}"
project = "{project}"
region = "us-west1"
queue = "runs"
bucket = "validibot-local"
tasks_account = "tasks@{project}.iam.gserviceaccount.com"
scheduler_account = "scheduler@{project}.iam.gserviceaccount.com"
storage_account = "capability@{project}.iam.gserviceaccount.com"
job_accounts = [
  "validator-energyplus@{project}.iam.gserviceaccount.com",
  "validator-fmu@{project}.iam.gserviceaccount.com",
]

[tunnel.ssh]
destination = "root@{far.address}"
ssh_port = {ssh_port}
remote_port = {remote_port}
identity_file = "{far.folder}/user_key"
config_file = "{far.folder}/ssh_config"
"""


@dataclass(frozen=True)
class Laptop(Stack):
    """A stack whose cloud is on the far side."""

    far: Far | None = None

    def environ(self, **variables: str) -> dict[str, str]:
        assert self.far
        return super().environ(**self.far.environ | variables)

    def has_logged(self, text: str) -> bool:
        return text in (self.root / ".devenv" / "logs" / "tunnel.log").read_text()

    def up(self) -> None:
        started = self.devenv("up", "--mode", "tunnel", "--detach", "--json")
        assert started.returncode == 0, started.stderr


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """The stack of `make up MODE=tunnel`."""
    if not fars.is_possible():
        reason = "needs root, and the Debian packages openssh-server, openssh-client and iproute2"
        if machine().get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with fars.far_side(tmp_path_factory.mktemp("far")) as far:
        made = stacks.make(tmp_path_factory.mktemp("stack") / "tunnel")
        laptop = Laptop(made.root, far=far)
        text = _TUNNEL.format(
            far=far, project=PROJECT, ssh_port=fars.SSH_PORT, remote_port=fars.REMOTE_PORT
        )
        (laptop.root / "devenv.local.toml").write_text(text)
        prepared.migrate(laptop.root)
        laptop.up()
        yield laptop
        stacks.stop(laptop)
        assert _programs(far) == []
        assert not (laptop.root / ".devenv" / "tunnel" / "open.json").exists()


@pytest.fixture(scope="module")
def run(laptop: Laptop) -> dict[str, Any]:
    """An ended run of a remote validator, at which several tests look."""
    return laptop.run(FMU, laptop.sample(FMU))


def _programs(far: Far) -> list[int]:
    """Return the process ids of the tunnel programs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if command[-1].decode() == f"root@{far.address}":
                found.append(int(process.name))
    return found


def test_remote_validator_calls_back_through_tunnel(laptop: Laptop, run: dict[str, Any]) -> None:
    assert (run["state"], run["result"]) == ("COMPLETED", "PASS"), run
    # The run ends before the gate has logged the request.
    for account, path in {"tasks": "tasks", "validator-fmu": "callbacks"}.items():
        email = f"{account}@{PROJECT}.iam.gserviceaccount.com"
        laptop.until(partial(laptop.has_logged, f"Forwarded {email}: POST /internal/{path}/"))
    assert laptop.told(run["id"], "running", "execution").startswith(f"projects/{PROJECT}/")


def test_status_has_public_url(laptop: Laptop) -> None:
    assert laptop.far
    facts = laptop.status()

    assert (facts["mode"], facts["urls"]["tunnel"]) == ("tunnel", laptop.far.url)
    assert "gcp" not in facts["services"]


def test_checks_of_open_tunnel_succeed(laptop: Laptop) -> None:
    done = laptop.devenv("tunnel", "--check", "--json")

    found = {check["name"]: (check["result"], check["text"]) for check in json.loads(done.stdout)}
    assert {name for name, (result, _) in found.items() if result == "fail"} == set(), found
    for name in ("program", "clock", "dns", "tls", "round trip", "token"):
        assert found[name][0] == "ok", found[name]
    for name in ("no token", "an unsigned token", "a foreign token", "an expired token"):
        assert found[name] == ("ok", "is refused")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/health/", 404),
        ("/internal/tasks/../../health/", 404),
        ("/internal/tasks/", 401),
        ("/internal/callbacks/", 401),
        ("/internal/schedules/reconcile/", 401),
    ],
)
def test_only_declared_paths_are_public(laptop: Laptop, path: str, status: int) -> None:
    assert laptop.far
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is"]
    done = subprocess.run(
        [
            *("ip", "netns", "exec", laptop.far.name, *command, "--noproxy", "*", "-d", "{}"),
            *("--cacert", str(laptop.far.folder / "web.pem"), laptop.far.url + path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == str(status)


def test_saved_callback_is_replayed(laptop: Laptop, run: dict[str, Any]) -> None:
    done = laptop.devenv("replay", run["id"], "--json")

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["status"]) == (0, 200), done.stderr
    assert answer["answer"]["idempotent_replayed"] is True
    assert Path(answer["source"]).parent == laptop.root / ".devenv" / "requests"


def test_trace_has_events_of_run(laptop: Laptop, run: dict[str, Any]) -> None:
    done = laptop.devenv("run", "--", "python", "manage.py", "trace_run", run["id"])

    stations = re.findall(r"(created|delivered|launched|running|called_back|passed)\b", done.stdout)
    assert done.returncode == 0, done.stderr
    assert stations[0] == "created"
    assert {"launched", "running", "called_back", "passed"} <= set(stations)


def test_commands_of_docs_page_work(laptop: Laptop, run: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "modes" / "tunnel.md").read_text()
    commands = re.findall(r"^\.venv/bin/python -m devenv (.+)$", page, re.MULTILINE)

    for command in commands:
        done = laptop.devenv(*command.replace("RUN_ID", run["id"]).split())
        assert done.returncode == 0, (command, done.stderr)
    assert len(commands) > 4


def test_remote_schedule_reaches_worker(laptop: Laptop) -> None:
    assert laptop.far
    name = f"projects/{PROJECT}/locations/us-west1/jobs/reconcile"
    call = f"from google.cloud.scheduler_v1 import *; CloudSchedulerClient().run_job(name={name!r})"
    environ = laptop.environ(**laptop.far.environ_of(fars.OPERATOR))

    subprocess.run([sys.executable, "-c", call], check=True, env=environ)

    line = f"Forwarded scheduler@{PROJECT}.iam.gserviceaccount.com: POST /internal/schedules/"
    laptop.until(lambda: laptop.has_logged(line))


def test_killed_tunnel_is_opened_again(laptop: Laptop) -> None:
    assert laptop.far
    (program,) = _programs(laptop.far)

    os.kill(program, signal.SIGKILL)

    laptop.until(lambda: laptop.has_logged("The tunnel is open again at"))
    assert laptop.run(FMU, laptop.sample(FMU))["result"] == "PASS"


def test_killed_stack_leaves_no_process(laptop: Laptop) -> None:
    far = laptop.far
    assert far
    os.kill(json.loads((laptop.root / ".devenv" / "state.json").read_text())["pid"], signal.SIGKILL)
    laptop.until(lambda: not _programs(far))
    laptop.up()
    assert _programs(far)
