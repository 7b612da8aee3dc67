"""Unit tests of the tunnel process: publishing the URL, and restarts when it changes."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devenv.config import Config
from devenv.services.launch_tunnel import TunnelKeeper
from devenv.stack import statefile
from devenv.stack.problems import Check
from devenv.stack.statefile import ServiceState, StackState
from devenv.tunnel import published
from devenv.tunnel.tunnel import Station
from tests.declared import config_in
from tests.unit.devenv.tunnel import samples

FIRST, SECOND = "https://first.example.com", "https://second.example.com"


@pytest.fixture
def ours(tmp_path: Path) -> Config:
    return replace(config_in(tmp_path), tunnel=samples.config())


@pytest.fixture
def web(ours: Config) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that the stack's state calls `web`."""
    with subprocess.Popen(["sleep", "60"]) as process:
        services = {"web": ServiceState("healthy", process.pid), "worker": ServiceState("waiting")}
        statefile.write(ours.state_file, StackState(services=services))
        yield process
        process.kill()


def _open(
    config: Config, *urls: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> TunnelKeeper:
    """Let a tunnel open at each of the URLs, one after the other."""

    async def prove(self: Station, url: str) -> list[Check]:
        return [check]

    async def main() -> TunnelKeeper:
        keeper = TunnelKeeper(config, worker_port=1, readers=["web", "worker"])
        before = ""
        for url in urls:
            keeper._opened(url, before)
            if keeper._proving:
                await keeper._proving
            before = url
        return keeper

    monkeypatch.setattr(Station, "prove", prove)
    return asyncio.run(main())


GOOD, BAD = Check("round trip", "ok", "1 ms"), Check("round trip", "fail", "nothing", "look")


def test_proved_tunnel_is_published(ours: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    _open(ours, FIRST, check=GOOD, monkeypatch=monkeypatch)

    found = published.read(published.file_in(ours.state))
    assert found
    assert (found.url, found.pid, found.is_alive()) == (FIRST, os.getpid(), True)


def test_new_url_is_published_and_restarts_services(
    ours: Config,
    web: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _open(ours, FIRST, SECOND, check=GOOD, monkeypatch=monkeypatch)

    found = published.read(published.file_in(ours.state))
    assert found
    assert found.url == SECOND
    assert web.wait(60) == -signal.SIGTERM
    assert f"has changed from {FIRST} to {SECOND}" in caplog.text


def test_unchanged_url_restarts_nothing(
    ours: Config, web: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    _open(ours, FIRST, FIRST, check=GOOD, monkeypatch=monkeypatch)

    assert web.poll() is None


def test_tunnel_to_another_server_is_not_published(
    ours: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = _open(ours, FIRST, check=BAD, monkeypatch=monkeypatch)

    assert published.read(published.file_in(ours.state)) is None
    assert keeper._stopping.is_set()


def test_file_of_dead_process_is_not_alive(ours: Config) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    file = published.file_in(ours.state)
    published.publish(file, published.Published(FIRST, "ssh", gone.pid))

    found = published.read(file)
    assert found
    assert not found.is_alive()
