"""Unit tests of the bridge: the worker's address, and errors of `up`."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from containers import CallbackNetwork, ContainerEngine, EngineUnavailable
from devenv import config
from devenv.product import Product
from devenv.secrets import Secrets
from devenv.services import bridge, services, urls
from devenv.stack.probe import HttpProbe
from devenv.stack.problems import StackError

ROOT = Path(__file__).resolve().parents[4]
ADDRESS = "172.30.0.1"


@pytest.fixture
def product(tmp_path: Path) -> Product:
    ours = replace(config.load(ROOT), root=tmp_path)
    ours.state.mkdir()
    secrets = Secrets.load(ours.secrets_file)
    return Product(config=ours, secrets=secrets, mode="local", jobs="docker")


def test_worker_and_probe_are_on_bridge(product: Product) -> None:
    product.config.bridge_file.write_text(f"{ADDRESS}\n")
    port = product.config.ports.worker

    [worker] = [service for service in services(product) if service.name == "worker"]

    assert worker.command[worker.command.index("--host") + 1] == ADDRESS
    assert worker.probe == HttpProbe(port, "/health/", address=ADDRESS)
    assert urls(product)["worker"] == f"http://{ADDRESS}:{port}"


@pytest.mark.parametrize(("mode", "jobs"), [("local", "process"), ("emulated", "docker")])
def test_worker_without_bridge_is_on_localhost(product: Product, mode: str, jobs: str) -> None:
    product.config.bridge_file.write_text(ADDRESS)

    assert bridge.address(replace(product, mode=mode, jobs=jobs)) == "127.0.0.1"


def test_containers_reach_worker_by_host_name(product: Product) -> None:
    told = product.variables("web")

    assert told["WORKER_URL"] == f"http://host.docker.internal:{product.config.ports.worker}"
    assert "host.docker.internal" in told["ALLOWED_HOSTS"]
    assert told["EXECUTION_BACKEND"] == "docker"


def test_each_folder_has_own_owner(product: Product, tmp_path: Path) -> None:
    other = replace(product, config=replace(product.config, root=tmp_path / "other"))

    assert product.owner != other.owner
    assert product.variables("web")["CONTAINERS_OWNER"] == product.owner


def _gateway(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    network = CallbackNetwork("bridge", address)
    monkeypatch.setattr(ContainerEngine, "callback_network", lambda self: network)
    monkeypatch.setattr(ContainerEngine, "has", lambda self, image: "fmu" not in image)

    def listen(place: tuple[str, int]) -> Mock:
        if place[0] != ADDRESS:
            raise OSError(99, "Cannot assign requested address")
        return Mock()

    monkeypatch.setattr("socket.create_server", listen)


def test_missing_images_are_returned(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    _gateway(monkeypatch, ADDRESS)

    assert bridge.build(product) == ["validibot/validator-fmu:0.1.0"]
    assert bridge.address(product) == ADDRESS


def test_remote_engine_is_refused(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    _gateway(monkeypatch, "192.0.2.77")

    with pytest.raises(StackError, match=r"192\.0\.2\.77 is not on this machine") as refused:
        bridge.build(product)

    assert refused.value.hint == "make up MODE=local"


def test_missing_engine_is_refused(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(self: ContainerEngine) -> CallbackNetwork:
        raise EngineUnavailable("Nobody answers.")

    monkeypatch.setattr(ContainerEngine, "callback_network", nobody)

    with pytest.raises(StackError, match=r"needs a Docker engine\. Nobody answers\."):
        bridge.build(product)
