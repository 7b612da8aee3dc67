"""An emulated cloud in a container, as in compose: also web and worker reach its ports."""

# mypy: disable-error-code="no-untyped-call"

import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from devenv.gcp import Cloud
from devenv.gcp.config import CloudPlace
from devenv.gcp.errors import Unavailable
from devenv.gcp.intercept.endpoints import listen
from tests import engine as engines
from tests.docker.jobs import ACCOUNT, Jobs, cloud_of, jobs
from tests.docker.test_job_containers import ASK
from tests.waiting import LIMIT

__all__ = ["jobs"]


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[str, str]]:
    """An existing network, and this machine's address in it."""
    api = engines.connect().api
    name = f"test-{secrets.token_hex(4)}"
    api.create_network(name, internal=True, labels={"io.validibot.tests": "place"})
    yield name, api.inspect_network(name)["IPAM"]["Config"][0]["Gateway"]
    api.remove_network(name)
    api.close()


@pytest.fixture(scope="module")
def docker_cloud(
    network: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    name, address = network
    place = CloudPlace(jobs="docker", bind=address, container_host=address, network=name)
    with cloud_of(tmp_path_factory.mktemp("gcp"), place) as cloud:
        yield cloud


def test_every_environment_uses_container_host(
    docker_cloud: Cloud, network: tuple[str, str]
) -> None:
    environ = docker_cloud.environ("web")

    assert environ["https_proxy"].startswith(f"http://{network[1]}:")
    assert environ["GCE_METADATA_HOST"].startswith(f"{network[1]}:")
    assert environ["no_proxy"].endswith(f",{network[1]}")


def test_metadata_port_identifies_web_and_worker(docker_cloud: Cloud) -> None:
    host = docker_cloud.environ("web")["GCE_METADATA_HOST"]
    answer = httpx.get(
        f"http://{host}/computeMetadata/v1/instance/service-accounts/default/email",
        headers={"Metadata-Flavor": "Google"},
        trust_env=False,
    )

    assert answer.text == "web@validibot-local.iam.gserviceaccount.com"


def test_job_has_own_identity_at_every_port(jobs: Jobs) -> None:
    ports = json.loads((jobs.data / "endpoints.json").read_text())["metadata"]
    source = f"""{ASK}
    print(ask(own, "default/email"))
    print(ask({ports["web"]}, "default/email"))
    print(ask({ports["worker"]}, "worker@validibot-local.iam.gserviceaccount.com/email"))
    """

    assert jobs.log(jobs.run(source)).splitlines() == [ACCOUNT, ACCOUNT, "HTTPError"]


def test_proxy_refuses_metadata_ports_to_jobs(jobs: Jobs) -> None:
    web = json.loads((jobs.data / "endpoints.json").read_text())["metadata"]["web"]
    source = f"""
        import urllib.request
        for host in ("127.0.0.1", "localhost"):
            request = urllib.request.Request(f"http://{{host}}:{web}/computeMetadata/v1/")
            import os
            request.set_proxy(os.environ["http_proxy"].removeprefix("http://"), "http")
            try:
                print(urllib.request.urlopen(request, timeout=60).read())
            except OSError as error:
                print(error.code)
    """

    assert jobs.log(jobs.run(source)).splitlines() == ["503", "503"]


def test_jobs_on_host_have_own_ports_in_network(network: tuple[str, str], tmp_path: Path) -> None:
    with cloud_of(tmp_path, CloudPlace(jobs="docker", network=network[0])):
        doors = json.loads((tmp_path / "endpoints.json").read_text())["jobs"]
        for port in doors.values():
            socket.create_connection((network[1], port), timeout=LIMIT).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=2)

    assert set(doors) == {"proxy", "metadata"}


def test_remote_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"192.0.2.77 is not an address of this machine.*compose"):
        listen("192.0.2.77", 0)
