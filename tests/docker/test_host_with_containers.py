"""A host whose validators run in containers, without network or with callbacks by the key."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker import DockerClient

from containers import ContainerEngine
from tests import engine as engines
from tests.flows.host import Host, site
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("procfile")

FMU = "fmu-decay"
KEY = "k" * 40


@pytest.fixture
def contained(host: Host, engine: DockerClient) -> Iterator[Host]:
    """The host with `docker` for a backend; its containers and networks are removed afterwards."""
    engines.build_validators("fmu")
    yield replace(host, more={"EXECUTION_BACKEND": "docker", "ALLOW_SUBPROCESS": ""})
    owner = f"validibot-{hashlib.sha256(host.files.as_uri().encode()).hexdigest()[:12]}"
    ours = ContainerEngine(owner=owner)
    ours.clear()
    ours.close()


def _posted(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if "POST /internal/callbacks/" in line]


def test_container_without_network_needs_no_callback(contained: Host) -> None:
    port = free_port()
    with contained.start("web", "worker", port=port) as runner, site(port) as web:
        run = web.launch(FMU, contained.sample(FMU), Prefer="wait=60").json()

        assert run["result"] == "PASS", run
        assert _posted(runner.log) == []


def test_container_callback_sends_worker_key(contained: Host) -> None:
    port = free_port()
    told = {
        "ALLOWED_HOSTS": "localhost,host.docker.internal",
        "CONTAINER_NETWORK": "callback",
        "WORKER_API_KEY": KEY,
        "WORKER_URL": f"http://host.docker.internal:{port}",
    }
    with contained.start("web", "worker", port=port, **told) as runner, site(port) as web:
        run = web.launch(FMU, contained.sample(FMU), Prefer="wait=60").json()

        assert run["result"] == "PASS", run
        # The waiting client has the answer before the worker has logged the request.
        (posted,) = until(lambda: _posted(runner.log))
        assert "/internal/callbacks/ 200" in posted
        assert KEY not in runner.log.read_text()
