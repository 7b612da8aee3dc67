"""Flows of `JOBS=docker make up MODE=local`: validators in their real images, no cloud."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from docker import DockerClient

from devenv.environment import machine
from tests import pages
from tests.checkout import ROOT
from tests.flows import prepared, stack as stacks
from tests.flows.stack import Stack
from validators.sdk.manifest import ValidatorManifest

pytestmark = pytest.mark.xdist_group("local-containers")


@dataclass(frozen=True)
class Local(Stack):
    """A stack in local mode."""

    jobs: str = "docker"

    def devenv(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        mode = ("--mode", "local") if arguments[0] == "up" else ()
        return super().devenv(*arguments, *mode, **variables)

    @property
    def address(self) -> str:
        """Return where the worker listens."""
        return (self.root / ".devenv" / "bridge").read_text()

    @property
    def worker_port(self) -> int:
        return int(self.facts["urls"]["worker"].rpartition(":")[2])

    def programs(self) -> str:
        """Return a PATH with a `make` that uses the running Python instead of installing packages."""
        make = self.root / "bin" / "make"
        make.parent.mkdir(exist_ok=True)
        make.write_text(
            f'#!/bin/sh\nexec /usr/bin/make -f {ROOT}/Makefile -o runtime PYTHON={sys.executable} "$@"\n'
        )
        make.chmod(0o755)
        return f"{make.parent}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"


def owner_of(engine: DockerClient, address: str) -> str:
    """Return the owner of the bridge with this address; networks of other tests may have none."""
    [network] = [
        network
        for network in engine.networks.list(filters={"label": "io.validibot.managed"})
        if address in [each.get("Gateway") for each in network.attrs["IPAM"]["Config"] or ()]
    ]
    return str(network.attrs["Labels"]["io.validibot.owner"])


def left(engine: DockerClient, owner: str) -> list[str]:
    """Return the names of a stack's containers and networks."""
    ours = {"label": f"io.validibot.owner={owner}"}
    containers = engine.containers.list(all=True, filters=ours, ignore_removed=True)
    return [str(each.name) for each in (*containers, *engine.networks.list(filters=ours))]


@pytest.fixture(scope="module")
def local(
    engine: DockerClient,
    manifests: dict[str, ValidatorManifest],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Local]:
    """A stack that is reset at the end and must leave nothing."""
    made = Local(stacks.make(tmp_path_factory.mktemp("stack") / "local-containers").root)
    prepared.migrate(made.root)  # the bridge's address, a variable of every step, is not known yet
    stacks.start(made, fresh=True)
    owner = owner_of(engine, made.address)
    yield made
    stacks.stop(made)
    assert made.devenv("reset", "--yes").returncode == 0
    assert left(engine, owner) == []


@pytest.mark.parametrize(
    ("slug", "sample", "result"),
    [
        ("fmu-decay", "sample", "PASS"),
        ("energyplus-design-day", "failing_sample", "FAIL"),
    ],
)
def test_seeded_workflow_runs_in_its_image(
    local: Local, engine: DockerClient, slug: str, sample: str, result: str
) -> None:
    run = local.finished(local.run(slug, local.sample(slug, sample))["id"])

    [step] = run["steps"]
    assert (run["state"], run["result"]) == ("COMPLETED", result), run
    assert step["image_digest"] == engine.images.get(step["image"]).id
    [heard] = [event for event in local.history(run["id"]) if event["kind"] == "called_back"]
    assert heard["actor"] == "validator"


def test_worker_listens_on_bridge_only(local: Local) -> None:
    health = f"http://{local.address}:{local.worker_port}/health/"

    assert httpx.get(health, headers={"Host": "host.docker.internal"}).is_success
    with pytest.raises(httpx.ConnectError):
        httpx.get(health.replace(local.address, "127.0.0.1"))
    port = f"{local.worker_port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    heard = {line.split()[1] for line in lines if line.split()[3] == "0A"}
    assert sum(place.endswith(f":{port}") for place in heard) == 1


def test_cancel_stops_container(local: Local, engine: DockerClient) -> None:
    sample = local.sample("energyplus-small-office")
    run = local.launch("energyplus-small-office", sample.read_bytes(), sample.name).json()["id"]
    local.until(lambda: "running" in local.events(run))
    name = local.told(run, "running", "execution")
    owner = owner_of(engine, local.address)
    assert f"{name}.{owner}" in left(engine, owner)

    assert local.api.post(f"runs/{run}/cancel/").json()["result"] == "CANCELED"

    local.until(lambda: f"{name}.{owner}" not in left(engine, owner))


def test_container_outlives_launching_process(local: Local, engine: DockerClient) -> None:
    sample = local.sample("energyplus-small-office")
    run = local.launch("energyplus-small-office", sample.read_bytes(), sample.name).json()["id"]
    local.until(lambda: "running" in local.events(run))
    pid = local.status()["services"]["queue"]["pid"]

    os.kill(pid, signal.SIGKILL)

    local.until_restarted("queue", not_pid=pid)
    assert local.finished(run, seconds=180)["result"] == "PASS"
    swept = local.devenv("run", "python", "manage.py", "reconcile")
    assert swept.returncode == 0, swept.stderr
    owner = owner_of(engine, local.address)
    assert [name for name in left(engine, owner) if name.startswith("attempt-")] == []


def test_commands_of_docs_page_work(local: Local) -> None:
    first, *others = pages.blocks("docs/modes/local-containers.md")
    for commands, folder in ((first, ROOT), ("\n".join(others), local.root)):
        done = pages.run(
            commands,
            folder=folder,
            environ=machine()
            | {
                "PATH": local.programs(),
                "PYTHONPATH": str(ROOT),
                "VALIDIBOT_API_URL": local.web,
                "VALIDIBOT_TOKEN": local.facts["api_key"],
            },
        )
        assert done.returncode == 0, done.stderr[-3000:]

    assert "PASSED sha256:" in done.stdout
    assert "validibot-callback." in done.stdout


def test_up_without_engine_names_docker(engine: DockerClient, tmp_path: Path) -> None:
    made = Local(stacks.make(tmp_path / "stack").root)

    refused = made.devenv("up", "--detach", DOCKER_HOST="unix:///nowhere/docker.sock")

    assert refused.returncode == 1
    assert (
        "JOBS=docker needs a Docker engine. The container engine does not answer" in refused.stderr
    )
    assert "make up MODE=local" in refused.stderr
