"""Fixtures for tests that start servers on the loopback interface."""

import html
from collections.abc import Iterator
from pathlib import Path

import pytest

from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from devenv.pytest_plugin import ActAs, become
from tests.cloud import act_as, cloud, config
from tests.emulator.target import Worker, working
from tests.unit.devenv.console.console import ConsoleClient, write_state
from tests.waiting import until

__all__ = ["ActAs", "act_as", "cloud", "config"]


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Allow sockets, which are disabled in other tests."""


def page_with(visitor: ConsoleClient, path: str, text: str) -> str:
    """Return a page once it has a text: a call is recorded when its answer has been sent."""
    until(lambda: text in html.unescape(visitor.get(path).text))
    return visitor.get(path).text


@pytest.fixture
def visitor(cloud: Cloud, tmp_path: Path) -> Iterator[ConsoleClient]:
    """Return a browser with a session in a console over the emulated cloud."""
    write_state(tmp_path)
    client = ConsoleClient(tmp_path, cloud=cloud.plain_url, cloud_data=cloud.data)
    client.sign_in()
    yield client
    client.close()


@pytest.fixture(scope="session")
def turned_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(data=tmp_path_factory.mktemp("turned")) as cloud:
        yield cloud


@pytest.fixture
def turned(turned_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """An empty cloud whose clock may be turned; this process is its account `app`."""
    turned_cloud.restart(OPEN_PROJECT, clean=True)
    become(turned_cloud, "app", monkeypatch)
    return turned_cloud


@pytest.fixture
def worker() -> Iterator[Worker]:
    with working() as worker:
        yield worker
