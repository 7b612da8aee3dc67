"""The published validibot-cli 0.3.2, unchanged, against the API."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

PASS, FAIL, ERROR, STILL_RUNNING = 0, 1, 2, 3

type Done = subprocess.CompletedProcess[str]
type Client = Callable[..., Done]


@pytest.fixture
def client(stack: Stack, tmp_path: Path) -> Client:
    """Run the installed command with the lines that `make up` prints, in an empty home."""
    settings = {
        "HOME": str(tmp_path),
        "VALIDIBOT_API_URL": stack.web,
        "VALIDIBOT_TOKEN": stack.facts["api_key"],
        "VALIDIBOT_ORG": stack.facts["org"],
        "VALIDIBOT_NO_KEYRING": "1",
        "VALIDIBOT_POLL_INTERVAL": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }

    def run(*arguments: str, **variables: str) -> Done:
        command = [str(Path(sys.executable).with_name("validibot")), *arguments]
        environ = {k: v for k, v in (settings | variables).items() if v}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    return run


def _json(done: Done) -> Any:
    return json.loads(done.stdout)


def test_login_stores_default_organisation(client: Client, stack: Stack) -> None:
    key = stack.facts["api_key"]
    done = client("login", "--token", key, VALIDIBOT_TOKEN="", VALIDIBOT_ORG="")

    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout + done.stderr


def test_login_with_wrong_key_fails(client: Client) -> None:
    done = client("whoami", VALIDIBOT_TOKEN="vbk_1_wrong")

    assert done.returncode == 1
    assert "Authentication failed" in done.stdout + done.stderr


def test_workflows_list_and_show(client: Client) -> None:
    listed = client("workflows", "list", "--json")
    shown = client("workflows", "show", "energyplus-small-office", "--json")

    assert "energyplus-small-office" in [workflow["slug"] for workflow in _json(listed)]
    assert _json(shown)["steps"][0]["validator_type"] == "ENERGYPLUS"


def test_show_of_unknown_workflow_fails(client: Client) -> None:
    done = client("workflows", "show", "nonsense")

    assert done.returncode == 1
    assert "not found" in (done.stdout + done.stderr).lower()


def test_validate_accepts_all_options(client: Client, stack: Stack) -> None:
    name = f"night run {uuid.uuid4()}"
    done = client(
        *(
            "validate",
            str(stack.sample("meter-readings-schema")),
            "-w",
            "meter-readings-schema",
            "--json",
        ),
        *("--name", name, "--meta", "building=A", "--meta", "floor=2=b"),
        *("--short-description", "by the client", "--version", "1", "--project", "default"),
    )

    assert done.returncode == PASS, done.stderr
    run = stack.get_run(_json(done)["id"])
    assert (run["name"], run["source"]) == (name, "CLI")
    assert run["metadata"] == {"building": "A", "floor": "2=b"}
    assert run["short_description"] == "by the client"


def test_validate_waits_for_simulation(client: Client, stack: Stack) -> None:
    sample = str(stack.sample("energyplus-design-day"))
    done = client("validate", sample, "-w", "energyplus-design-day")

    assert done.returncode == PASS, done.stdout + done.stderr


def test_validate_of_invalid_data_exits_1_with_findings(client: Client, stack: Stack) -> None:
    sample = str(stack.sample("meter-readings-schema", "failing_sample"))
    done = client("validate", sample, "-w", "meter-readings-schema", "--verbose")

    assert done.returncode == FAIL
    assert "Traceback" not in done.stderr


def test_validate_without_wait_returns_run(client: Client, stack: Stack) -> None:
    sample = str(stack.sample("fmu-decay"))
    launched = client("validate", sample, "-w", "fmu-decay", "--no-wait", "--json")
    run = _json(launched)

    assert launched.returncode == 0
    assert run["state"] in ("PENDING", "RUNNING")
    assert stack.finished(run["id"])["result"] == "PASS"


def test_validate_timeout_does_not_stop_run(client: Client, stack: Stack) -> None:
    sample = str(stack.sample("energyplus-small-office"))
    done = client(
        *("validate", sample, "-w", "energyplus-small-office", "--timeout", "1", "--json"),
    )

    assert done.returncode == STILL_RUNNING, done.stdout + done.stderr


def test_runs_show_reads_run_of_any_result(client: Client, stack: Stack) -> None:
    run = stack.run(
        "meter-readings-schema", stack.sample("meter-readings-schema", "failing_sample")
    )
    done = client("runs", "show", run["id"], "--json")

    assert done.returncode == 0
    assert _json(done)["result"] == "FAIL"


def test_validate_of_wrong_file_type_prints_one_line(client: Client, tmp_path: Path) -> None:
    wrong = tmp_path / "picture.png"
    wrong.write_bytes(b"\x89PNG")
    done = client("validate", str(wrong), "-w", "meter-readings-schema")

    assert done.returncode == 1
    assert "picture.png is not a file that" in (done.stdout + done.stderr).replace("\n", " ")
