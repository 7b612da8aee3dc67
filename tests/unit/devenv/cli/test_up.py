"""Unit tests of the choice of ports by `up`."""

from io import StringIO
from pathlib import Path

import pytest

from devenv.cli import up
from devenv.cli.context import Context
from devenv.cli.output import CliOutput
from devenv.stack import ports
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


@pytest.mark.parametrize(("value", "mode"), [("1", "mock"), ("", "emulated"), ("0", "emulated")])
def test_switch_in_shell_selects_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, mode: str
) -> None:
    monkeypatch.setenv("MOCK_VALIDATORS", value)
    context = Context(config=config_in(tmp_path), output=CliOutput(out=StringIO(), err=StringIO()))

    assert up._default_mode(context) == mode
