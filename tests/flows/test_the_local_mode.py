"""Local mode as its page describes it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import stack as stacks
from tests.flows.stack import ROOT, Stack
from tests.flows.test_mock_scenarios import _programs as programs, _shell as shell
from tests.pages import _BLOCK as BLOCK

pytestmark = [pytest.mark.xdist_group("queue"), pytest.mark.timeout(240)]

PAGE = ROOT / "docs/modes/local.md"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """What the commands of the page start."""
    made = stacks.make(tmp_path_factory.mktemp("stack") / "local")
    yield made
    stacks.stop(made)


def test_the_commands_of_the_page_work(local: Stack, tmp_path: Path) -> None:
    health = f"http://localhost:{_port_of_the_queue(local)}/health/"
    commands = "\n".join(BLOCK.findall(PAGE.read_text()))

    done = shell(
        commands.replace("http://localhost:8002/health/", health),
        cwd=local.root,
        PATH=f"{programs(tmp_path / 'bin')}:{Path(sys.executable).parent}:/usr/bin:/bin",
        HOME=str(tmp_path),
        PYTHONPATH=str(ROOT),
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert '{"status": "ok"}' in done.stdout


def _port_of_the_queue(stack: Stack) -> str:
    lines = (stack.root / "devenv.toml").read_text().splitlines()
    (port,) = [line.partition(" = ")[2] for line in lines if line.startswith("queue = ")]
    return port


@pytest.mark.parametrize("slug", ["meter-readings-schema", "fmu-decay"])
def test_a_run_goes_through_the_database_queue(local: Stack, slug: str) -> None:
    run = local.run(slug, local.sample(slug))

    assert (run["state"], run["result"]) == ("COMPLETED", "PASS"), run
    assert local.told(run["id"], "delivered", "task").isdecimal()
