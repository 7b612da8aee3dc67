"""Unit tests of the processes that listen for a debugger."""

from dataclasses import replace
from pathlib import Path

import pytest

from devenv.local_stack import LocalStack
from devenv.services import builtin, debugger, declared
from devenv.stack.problems import StackError
from tests.declared import stack_in


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    return stack_in(tmp_path)


def test_each_name_has_fixed_port(stack: LocalStack) -> None:
    assert debugger.wanted(["web", "worker"], stack) == {"web": 5678, "worker": 5679}
    assert debugger.wanted(["energyplus", "fmu"], stack) == {"energyplus": 5680, "fmu": 5681}


@pytest.mark.parametrize(
    ("mode", "names"),
    [("emulated", "web, worker, energyplus, fmu, schematron, shacl, limits"), ("mock", "web, worker"), ("local", "web, worker, queue")],
)  # fmt: skip
def test_unknown_name_is_refused_with_known_ones(tmp_path: Path, mode: str, names: str) -> None:
    with pytest.raises(
        StackError, match=f"DEBUGPY=mail is unknown; in this mode there are {names}\\."
    ):
        debugger.wanted(["mail"], stack_in(tmp_path, mode))


def test_containers_have_no_debugger(stack: LocalStack) -> None:
    with pytest.raises(StackError, match=r"there are web, worker\."):
        debugger.wanted(["fmu"], replace(stack, jobs="docker"))


def test_missing_debugpy_names_command(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debugger, "find_spec", lambda name: None)

    with pytest.raises(StackError) as refused:
        debugger.wanted(["web"], stack)

    assert (refused.value.message, refused.value.hint) == (
        "DEBUGPY needs debugpy, which is not installed.",
        "make dev",
    )
    assert debugger.wanted([], stack) == {}


def test_no_debugger_by_default(stack: LocalStack, tmp_path: Path) -> None:
    assert debugger.variables(stack, "web") == {}
    assert "debugpy" not in declared.build(stack_in(tmp_path, "local"), "queue").command
    assert not [part for part in builtin.gcp(stack).command if part.startswith("--debugger")]


def test_named_processes_listen(tmp_path: Path) -> None:
    debugged = replace(stack_in(tmp_path, "local"), debug={"worker": 5679, "queue": 5680})

    assert debugger.variables(debugged, "worker") == {"DEBUGPY_PORT": "5679"}
    assert declared.build(debugged, "queue").command[1:5] == (
        *("-m", "debugpy"),
        *("--listen", "127.0.0.1:5680"),
    )


def test_jobs_of_named_validator_wait_at_port(stack: LocalStack) -> None:
    command = builtin.gcp(replace(stack, debug={"fmu": 5681})).command

    assert "--debugger=validibot/validator-fmu:0.1.0=5681" in command


def test_programs_with_environment_of_service_do_not_listen(tmp_path: Path) -> None:
    debugged = replace(stack_in(tmp_path, "mock"), debug={"web": 5678})

    assert declared.build(debugged, "web").environ()["DEBUGPY_PORT"] == "5678"
    assert "DEBUGPY_PORT" not in declared.environ(debugged, "web")
