"""Mock mode: the stack, the commands of its page, and the effects of scenarios for clients."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import pages
from tests.checkout import ROOT
from tests.flows import host
from tests.flows.stack import Stack
from tests.ports import free_port
from tests.waiting import LIMIT, until

pytestmark = pytest.mark.xdist_group("mocked")

PAGE = "docs/modes/mock.md"


def _commands(*, alone: bool) -> str:
    """Return the commands of the page for the stack, or those for Django without a stack."""
    return "\n".join(block for block in pages.blocks(PAGE) if ("runserver" in block) is alone)


def test_commands_of_docs_page_work(mocked: Stack, tmp_path: Path) -> None:
    done = pages.run(
        _commands(alone=False),
        folder=mocked.root,
        environ={
            "PATH": pages.path_of_forks(tmp_path / "bin"),
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "VALIDIBOT_API_URL": mocked.web,
            "VALIDIBOT_TOKEN": mocked.facts["api_key"],
        },
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^result +PASS\n(.*\n){2}findings +.*3 WARNING$", done.stdout, re.MULTILINE)


@pytest.fixture
def database_url(database_server: dict[str, str]) -> Iterator[str]:
    with host.database(database_server, f"alone_{os.getpid()}") as url:
        yield url


def test_mock_mode_needs_only_django(database_url: str, tmp_path: Path) -> None:
    *commands, serve = _commands(alone=True).strip().splitlines()
    port = str(free_port())
    environ = {
        "PATH": pages.path_of_forks(tmp_path / "bin"),
        "DATABASE_URL": database_url,
        "DATA_ROOT": tmp_path.as_uri(),
        "PORT": port,
    }

    done = pages.run("\n".join(commands), folder=ROOT, environ=environ)

    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^findings +3 ERROR$", done.stdout, re.MULTILINE)
    serve = serve.replace("python", sys.executable)  # its reloader ends with its group
    server = subprocess.Popen(["sh", "-c", serve], cwd=ROOT, env=environ, start_new_session=True)
    try:
        _until_served(port)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _until_served(port: str) -> None:
    with httpx.Client(base_url=f"http://localhost:{port}", timeout=LIMIT) as client:
        until(lambda: client.get("/health/").is_success, forgive=httpx.TransportError)
        assert "Sign" in client.get("/accounts/login/").text


@pytest.mark.parametrize(
    ("scenario", "result", "last"),
    [
        ("timeout(0.2)", "TIMED_OUT", "timed_out"),
        ("never_calls_back(0.2)", "ERROR", "error"),
        ("late(0.2)", "TIMED_OUT", "timed_out"),
        ("cancelled(0.2)", "CANCELED", "canceled"),
        ("slow(0.2)", "PASS", "passed"),
        ("crash", "ERROR", "error"),
    ],
)
def test_delayed_scenario_ends_while_client_waits(
    mocked: Stack, scenario: str, result: str, last: str
) -> None:
    sample = mocked.sample("fmu-decay")
    asked = {"Prefer": "wait=60", "X-Validibot-Scenario": scenario}

    answer = mocked.launch("fmu-decay", sample.read_bytes(), sample.name, **asked)

    assert (answer.status_code, answer.json()["result"]) == (201, result)
    assert mocked.events(answer.json()["id"])[-1] == last


def test_recorded_artifacts_can_be_downloaded(mocked: Stack) -> None:
    run = mocked.run("energyplus-small-office", mocked.sample("energyplus-small-office"))

    artifacts = {each["name"]: each for each in run["steps"][0]["artifacts"]}
    assert set(artifacts) == {"eplusout.csv", "eplusout.end", "eplusout.err"}
    csv = mocked.api.get(f"{mocked.web}{artifacts['eplusout.csv']['url']}")
    assert csv.text.startswith("Date/Time,Environment:Site Outdoor Air Drybulb Temperature")
    assert len(csv.content) == artifacts["eplusout.csv"]["size_bytes"]


def test_unknown_scenario_error_lists_scenarios(mocked: Stack) -> None:
    answer = mocked.launch("fmu-decay", b"PK", "a.fmu", **{"X-Validibot-Scenario": "explode"})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "scenario"
    assert "oversized_output, cancelled(SECONDS)" in answer.json()["detail"]
