"""Unit tests of the choice of ports by `up`."""

from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import pytest

from devenv import config
from devenv.cli import up
from devenv.cli.context import Context
from devenv.cli.output import CliOutput
from devenv.product import MODES
from devenv.stack import ports

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("mode", MODES)
def test_taken_port_is_reported_and_replaced(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = replace(config.load(ROOT), root=tmp_path)
    ours.state.mkdir()
    taken = {name: port + 1 for name, port in asdict(ours.ports).items()}
    monkeypatch.setattr(ports, "choose", lambda wanted, **_: taken if wanted else {})
    monkeypatch.setattr(ports, "holder", lambda port: "nginx (12)")
    err = StringIO()
    context = Context(config=ours, output=CliOutput(out=StringIO(), err=err))

    product = up._product(context, mode=mode, jobs="process")

    assert product.config.ports.web == ours.ports.web + 1
    assert f"port {ours.ports.web} is taken by nginx (12)" in err.getvalue()
