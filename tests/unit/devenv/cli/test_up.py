"""Unit tests of `up`: the choice of ports and of the profile, and reports of failed services."""

from io import StringIO
from pathlib import Path

import pytest

from devenv.cli import up
from devenv.cli.context import Context
from devenv.cli.foreground import Board
from devenv.cli.output import CliOutput
from devenv.stack import ports, statefile
from devenv.stack.runner import ServiceRunner
from devenv.stack.runner_state import RunnerState
from devenv.stack.service import StackService
from devenv.stack.statefile import StackState
from tests.declared import config_in


@pytest.mark.parametrize("mode", ["emulated", "mock", "local", "tunnel"])
def test_taken_port_is_reported_and_replaced(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = config_in(tmp_path)
    wanted = ours.stacks[ours.layers(mode)].wanted_ports()
    taken = {name: port + 1 for name, port in wanted.items()}
    monkeypatch.setattr(ports, "choose", lambda wanted, **_: taken if wanted else {})
    monkeypatch.setattr(ports, "holder", lambda port: "nginx (12)")
    err = StringIO()
    context = Context(config=ours, output=CliOutput(out=StringIO(), err=err))

    stack = up._stack(context, mode=mode, jobs="process")

    assert stack.ports["web"] == wanted["web"] + 1
    assert f"port {wanted['web']} is taken by nginx (12)" in err.getvalue()


@pytest.mark.parametrize(("value", "mode"), [("1", "mock"), ("", ""), ("0", "")])
def test_switch_in_shell_selects_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, mode: str
) -> None:
    monkeypatch.setenv("MOCK_VALIDATORS", value)
    context = Context(config=config_in(tmp_path), output=CliOutput(out=StringIO(), err=StringIO()))

    assert up._switched_mode(context) == mode


def test_service_that_fails_after_start_is_shown_with_its_last_lines(tmp_path: Path) -> None:
    config, err = config_in(tmp_path), StringIO()
    output = CliOutput(out=StringIO(), err=err)
    board = Board(config=config, output=output, state=StackState(phase="ready"))
    clock = StackService(name="clock", command=("false",), environ=dict)
    runner = ServiceRunner(clock, needs=(), folder=tmp_path)
    runner.state, runner.note = RunnerState.FAILED, "exited with 3"

    (config.logs / "clock.log").write_text("no database\n")
    board.changed(runner)

    assert "    no database\n  ✗ clock     failed: exited with 3\n" in err.getvalue()
    assert "Next: devenv start clock" in err.getvalue()
    status = statefile.read(config.state_file).services["clock"]
    assert (status.state, status.note) == ("failed", "exited with 3")


@pytest.mark.parametrize(
    ("stream", "error", "expected"),
    [
        (True, "", ["Stopping. Ctrl-C again kills at once.", "devenv up brings everything back."]),
        (True, "web failed", ["Stopping. Ctrl-C kills at once.", "Stopped; the data stays."]),
        (False, "web failed", ["Stopping.", "Stopped; the data stays."]),
    ],
)
def test_end_of_stack_names_keys_that_work(
    tmp_path: Path, *, stream: bool, error: str, expected: list[str]
) -> None:
    """`up --detach` repeats what its supervisor says, which no key of the terminal reaches."""
    err = StringIO()
    output = CliOutput(out=StringIO(), err=err, make=False)

    output.stopping(error, by_hand=stream)
    output.stopped(error)

    told = [line.strip() for line in err.getvalue().strip().splitlines()]
    assert all(line.endswith(end) for line, end in zip(told, expected, strict=True))
