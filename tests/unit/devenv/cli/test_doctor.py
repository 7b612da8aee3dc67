"""Unit tests of the checks of `doctor`."""

import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest

from containers import ContainerEngine, EngineUnavailable
from devenv.cli import doctor
from devenv.cli.context import Context
from devenv.cli.output import CliOutput
from devenv.schema import MachineCheck
from devenv.stack import ports, statefile
from devenv.stack.problems import Check
from devenv.stack.statefile import Lock, StackState
from tests.declared import config_in

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "devenv.toml").write_text((ROOT / "devenv.toml").read_text())
    ours = config_in(tmp_path)
    return Context(config=ours, output=CliOutput(out=StringIO(), err=StringIO()))


@pytest.mark.parametrize(
    ("script", "result", "text", "fix"),
    [
        ("echo all is there", "ok", "all is there", ""),
        ("echo it is missing; echo get it; exit 1", "warn", "it is missing", "get it"),
        ("exit 1", "warn", "failed without a word", "sh -c 'exit 1'"),
    ],
)
def test_declared_check_is_a_command(
    context: Context, script: str, result: str, text: str, fix: str
) -> None:
    checks = {"tool": MachineCheck(command=("sh", "-c", script), up=False)}
    config = replace(context.config, checks=checks)

    assert doctor.declared(config) == [Check("tool", result, text, fix)]  # type: ignore[arg-type] # one of the three
    assert doctor.declared(config, at_up=True) == []


def test_declared_check_without_program_is_a_warning(context: Context) -> None:
    checks = {"tool": MachineCheck(command=("/nowhere",))}

    (check,) = doctor.declared(replace(context.config, checks=checks))

    assert (check.result, check.fix) == ("warn", "/nowhere")


def test_taken_ports_are_named(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 8000)
    monkeypatch.setattr(ports, "holder", lambda port: "nginx (12)")

    assert doctor.listening(context).text == "taken: 8000 by nginx (12)"


def test_ports_of_running_stack_are_ok(context: Context) -> None:
    with Lock(context.config.lock):
        assert doctor.listening(context).result == "ok"


@pytest.mark.parametrize(("free", "result"), [(100, "fail"), (1000, "warn"), (9000, "ok")])
def test_free_disk_space_is_judged(
    context: Context, monkeypatch: pytest.MonkeyPatch, free: int, result: str
) -> None:
    usage = shutil.disk_usage(ROOT)._replace(free=free * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    assert doctor.disk(context).result == result


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (StackState(), "stopped"),
        (StackState(phase="ready"), "was killed"),
        (StackState(phase="failed", error="web exited with 1"), "web exited with 1"),
    ],
)
def test_last_phase_is_reported(context: Context, state: StackState, text: str) -> None:
    statefile.write(context.config.state_file, state)

    assert text in doctor.state(context).text


def test_every_problem_has_a_fix(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 8000)

    found = doctor.every(context)

    assert {check.name for check in found} >= {"python", "energyplus", "ports", "disk", "clock"}
    assert all(check.fix for check in found if check.result != "ok")


def test_missing_certificate_bundle_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    check = doctor.certificates()

    assert (check.result, check.fix) == ("fail", "unset SSL_CERT_FILE")


def test_foreign_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/somewhere/key.json")

    check = doctor.credentials()

    assert (check.result, check.fix) == ("warn", "unset GOOGLE_APPLICATION_CREDENTIALS")


def test_file_of_own_credentials_is_ok(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    (tmp_path / "application_default_credentials.json").write_text("{}")

    assert "only MODE=tunnel reads it" in doctor.credentials().text


def test_missing_docker_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: ContainerEngine) -> NoReturn:
        raise EngineUnavailable

    monkeypatch.setattr(ContainerEngine, "ping", silent)

    check = doctor.containers()

    assert (check.result, check.text[:26]) == ("ok", "no Docker engine answers; ")


def test_damaged_state_file_is_a_warning(context: Context) -> None:
    context.config.state_file.write_text("{")

    check = doctor.state(context)

    assert (check.result, "state.json" in check.text) == ("warn", True)
