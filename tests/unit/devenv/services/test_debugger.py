"""Unit tests of the processes that listen for a debugger."""

from dataclasses import replace
from pathlib import Path

import pytest

from devenv import config
from devenv.product import Product
from devenv.secrets import Secrets
from devenv.services import application, backing, debugger
from devenv.stack.problems import StackError

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def product(tmp_path: Path) -> Product:
    ours = replace(config.load(ROOT), root=tmp_path)
    ours.state.mkdir()
    return Product(config=ours, secrets=Secrets.load(ours.secrets_file))


def test_each_name_has_fixed_port(product: Product) -> None:
    assert debugger.wanted(["web", "worker"], product) == {"web": 5678, "worker": 5679}
    assert debugger.wanted(["energyplus", "fmu"], product) == {"energyplus": 5680, "fmu": 5681}


@pytest.mark.parametrize(
    ("mode", "names"),
    [("emulated", "web, worker, energyplus, fmu"), ("mock", "web, worker"), ("local", "web, worker, queue")],
)  # fmt: skip
def test_unknown_name_is_refused_with_known_ones(product: Product, mode: str, names: str) -> None:
    with pytest.raises(
        StackError, match=f"DEBUGPY=mail is unknown; in this mode there are {names}\\."
    ):
        debugger.wanted(["mail"], replace(product, mode=mode))


def test_containers_have_no_debugger(product: Product) -> None:
    with pytest.raises(StackError, match=r"there are web, worker\."):
        debugger.wanted(["fmu"], replace(product, jobs="docker"))


def test_missing_debugpy_names_command(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debugger, "find_spec", lambda name: None)

    with pytest.raises(StackError) as refused:
        debugger.wanted(["web"], product)

    assert (refused.value.message, refused.value.hint) == (
        "DEBUGPY needs debugpy, which is not installed.",
        "make dev",
    )
    assert debugger.wanted([], product) == {}


def test_no_debugger_by_default(product: Product) -> None:
    assert debugger.variables(product, "web") == {}
    assert "debugpy" not in application.queue(product).command
    assert not [part for part in backing.gcp(product).command if part.startswith("--debugger")]


def test_named_processes_listen(product: Product) -> None:
    debugged = replace(product, mode="local", debug={"worker": 5679, "queue": 5680})

    assert debugger.variables(debugged, "worker") == {"DEBUGPY_PORT": "5679"}
    assert application.queue(debugged).command[1:5] == (
        *("-m", "debugpy"),
        *("--listen", "127.0.0.1:5680"),
    )


def test_jobs_of_named_validator_wait_at_port(product: Product) -> None:
    command = backing.gcp(replace(product, debug={"fmu": 5681})).command

    assert "--debugger=validibot/validator-fmu:0.1.0=5681" in command
