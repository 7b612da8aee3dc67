"""Unit tests of the bridge: the worker's address, and errors of `up`."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from containers import CallbackNetwork, ContainerEngine, EngineUnavailable
from devenv.local_stack import LocalStack, StackFolder
from devenv.services import bridge, declared, services, urls
from devenv.stack.problems import StackError
from devenv.stack.service import HttpProbe
from tests.declared import stack_in

ADDRESS = "172.30.0.1"


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    return stack_in(tmp_path, "local", jobs="docker")


def test_worker_and_probe_are_on_bridge(stack: LocalStack) -> None:
    stack.folder.bridge_file.write_text(f"{ADDRESS}\n")
    port = stack.ports["worker"]

    [worker] = [service for service in services(stack) if service.name == "worker"]

    assert worker.command[worker.command.index("--host") + 1] == ADDRESS
    assert worker.probe == HttpProbe(port, "/health/", address=ADDRESS)
    assert urls(stack)["worker"] == f"http://{ADDRESS}:{port}"


@pytest.mark.parametrize(("mode", "jobs"), [("local", "process"), ("emulated", "docker")])
def test_worker_without_bridge_is_on_localhost(tmp_path: Path, mode: str, jobs: str) -> None:
    stack = stack_in(tmp_path, mode, jobs=jobs)
    stack.folder.bridge_file.write_text(ADDRESS)

    assert stack.host("worker") == "127.0.0.1"


def test_containers_reach_worker_by_host_name(stack: LocalStack) -> None:
    told = declared.variables(stack, "web")

    assert told["WORKER_URL"] == f"http://host.docker.internal:{stack.ports['worker']}"
    assert "host.docker.internal" in told["ALLOWED_HOSTS"]
    assert told["EXECUTION_BACKEND"] == "docker"


def test_each_folder_has_own_owner(stack: LocalStack, tmp_path: Path) -> None:
    other = replace(stack, folder=StackFolder(tmp_path / "other"))

    assert stack.owner != other.owner
    assert declared.variables(stack, "web")["CONTAINERS_OWNER"] == stack.owner


def _gateway(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    network = CallbackNetwork("bridge", address)
    monkeypatch.setattr(ContainerEngine, "callback_network", lambda self: network)
    monkeypatch.setattr(ContainerEngine, "has", lambda self, image: "fmu" not in image)

    def listen(place: tuple[str, int]) -> Mock:
        if place[0] != ADDRESS:
            raise OSError(99, "Cannot assign requested address")
        return Mock()

    monkeypatch.setattr("socket.create_server", listen)


def test_missing_images_are_returned(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    _gateway(monkeypatch, ADDRESS)

    assert bridge.build(stack) == ["validibot/validator-fmu:0.1.0"]
    assert stack.host("worker") == ADDRESS


def test_remote_engine_is_refused(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    _gateway(monkeypatch, "192.0.2.77")

    with pytest.raises(StackError, match=r"192\.0\.2\.77 is not on this machine") as refused:
        bridge.build(stack)

    assert refused.value.hint == "make up MODE=local"


def test_missing_engine_is_refused(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(self: ContainerEngine) -> CallbackNetwork:
        raise EngineUnavailable("Nobody answers.")

    monkeypatch.setattr(ContainerEngine, "callback_network", nobody)

    with pytest.raises(StackError, match=r"needs a Docker engine\. Nobody answers\."):
        bridge.build(stack)
