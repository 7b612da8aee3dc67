"""What `doctor` finds, and what it says mends it."""

import ctypes
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest

from containers import Engine, EngineUnavailable
from devenv import config
from devenv.cli import checks
from devenv.cli.checks import engine, machine, stack, surroundings
from devenv.cli.context import Context
from devenv.cli.output import Output
from devenv.stack import ports, statefile
from devenv.stack.statefile import Lock, StackState

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "devenv.toml").write_text((ROOT / "devenv.toml").read_text())
    ours = replace(config.load(ROOT), root=tmp_path)
    ours.state.mkdir()
    return Context(config=ours, output=Output(out=StringIO(), err=StringIO()))


def test_a_missing_libx11_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> NoReturn:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)

    assert checks.energyplus().fix == "sudo apt-get install libx11-6"


def test_a_platform_without_an_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda _: None)

    check = checks.energyplus()

    assert check.result == "warn"
    assert "all other validators work" in check.text


def test_taken_ports_are_named(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 8000)
    monkeypatch.setattr(ports, "holder", lambda port: "nginx (12)")

    assert stack.listening(context).text == "taken: 8000 by nginx (12)"


def test_our_own_ports_are_not_in_the_way(context: Context) -> None:
    with Lock(context.config.lock):
        assert stack.listening(context).result == "ok"


@pytest.mark.parametrize(("free", "result"), [(100, "fail"), (1000, "warn"), (9000, "ok")])
def test_a_full_disk_is_told(
    context: Context, monkeypatch: pytest.MonkeyPatch, free: int, result: str
) -> None:
    usage = shutil.disk_usage(ROOT)._replace(free=free * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    assert machine.disk(context).result == result


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (StackState(), "stopped"),
        (StackState(phase="ready"), "was killed"),
        (StackState(phase="failed", error="web exited with 1"), "web exited with 1"),
    ],
)
def test_the_last_run_is_told(context: Context, state: StackState, text: str) -> None:
    statefile.write(context.config.state_file, state)

    assert text in stack.state(context).text


def test_every_check_that_is_not_ok_says_what_mends_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 8000)

    found = checks.every(context)

    assert {check.name for check in found} >= {"python", "energyplus", "ports", "disk", "clock"}
    assert all(check.fix for check in found if check.result != "ok")


def test_a_certificate_bundle_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    check = surroundings.certificates()

    assert (check.result, check.fix) == ("fail", "unset SSL_CERT_FILE")


def test_credentials_for_a_real_cloud_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/somewhere/key.json")

    check = surroundings.credentials()

    assert (check.result, check.fix) == ("warn", "unset GOOGLE_APPLICATION_CREDENTIALS")


def test_a_file_of_the_developers_own_credentials_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    (tmp_path / "application_default_credentials.json").write_text("{}")

    assert "only MODE=tunnel reads it" in surroundings.credentials().text


def test_a_machine_without_docker_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: Engine) -> NoReturn:
        raise EngineUnavailable

    monkeypatch.setattr(Engine, "ping", silent)

    check = engine.containers()

    assert (check.result, check.text[:26]) == ("ok", "no Docker engine answers; ")
