"""Flows of local mode, as its page describes it."""

import subprocess
from collections.abc import Iterator

import pytest

from devenv.config import load
from tests import pages
from tests.checkout import ROOT
from tests.flows import prepared, stack as stacks
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("queue")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = stacks.make(tmp_path_factory.mktemp("stack") / "local")
    prepared.migrate(made.root, "local")
    yield made
    stacks.stop(made)


@pytest.fixture(scope="module")
def told(
    local: Stack, tmp_path_factory: pytest.TempPathFactory
) -> "subprocess.CompletedProcess[str]":
    """Run the commands of the page, which start the stack; return their output."""
    home = tmp_path_factory.mktemp("home")
    script = pages.commands("docs/modes/local.md")
    return pages.run(
        script.replace("http://localhost:8002/", f"http://localhost:{_port_of_the_queue(local)}/"),
        folder=local.root,
        environ={
            "PATH": pages.path_of_forks(home / "bin"),
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
        },
    )


def _port_of_the_queue(stack: Stack) -> str:
    config = load(stack.root)
    return str(config.stacks[config.layers("local")].wanted_ports()["queue"])


def test_commands_of_docs_page_work(told: "subprocess.CompletedProcess[str]") -> None:
    assert told.returncode == 0, told.stderr[-3000:]
    assert '{"status": "ok"}' in told.stdout


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("slug", ["meter-readings-schema", "fmu-decay"])
def test_run_uses_database_queue(local: Stack, slug: str) -> None:
    run = local.run(slug, local.sample(slug))

    assert (run["state"], run["result"]) == ("COMPLETED", "PASS"), run
    assert local.told(run["id"], "delivered", "task").isdecimal()
