"""Clients that are generated from the OpenAPI document: each starts a run, waits, reads findings."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

WORKFLOW, BAD = "meter-readings-schema", "{}"
TYPESCRIPT = Path(__file__).parent / "typescript"


def _schema(stack: Stack, folder: Path) -> Path:
    """Store the OpenAPI document of the running stack."""
    path = folder / "schema.json"
    answer = stack.api.get(f"{stack.web}/api/v1/schema/", headers={"Accept": "application/json"})
    path.write_bytes(answer.raise_for_status().content)
    return path


def _messages(stack: Stack) -> list[str]:
    """Return the messages of the same run by a plain request."""
    run = stack.launch(WORKFLOW, BAD.encode(), "readings.json", Prefer="wait=60").json()
    return [issue["message"] for step in run["steps"] for issue in step["issues"]]


def test_generated_python_client_starts_run_and_reads_findings(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "validibot_client"
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate"]
    command += ["--path", str(_schema(stack, tmp_path)), "--meta", "none"]
    command += ["--output-path", str(package)]
    subprocess.run(command, check=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    module: Any = importlib.import_module("validibot_client")
    models: Any = importlib.import_module("validibot_client.models")
    runs: Any = importlib.import_module("validibot_client.api.runs")
    for name in ("start_run", "get_run", "list_findings"):
        importlib.import_module(f"validibot_client.api.runs.{name}")
    org = stack.facts["org"]

    with module.AuthenticatedClient(base_url=stack.web, token=stack.facts["api_key"]) as client:
        envelope = models.LaunchEnvelope(content=BAD, filename="readings.json")
        started = runs.start_run.sync(org, WORKFLOW, client=client, body=envelope, prefer="wait=60")
        run = runs.get_run.sync(org, started.id, client=client)
        severity = models.ListFindingsSeverity.ERROR
        page = runs.list_findings.sync(org, started.id, client=client, severity=severity)
        refused = runs.get_run.sync("nowhere", started.id, client=client)

    assert (run.state, run.result) == ("COMPLETED", "FAIL")
    assert [each.message for each in page.results] == _messages(stack)
    assert (refused.status, refused.code) == (404, "NOT_FOUND")


def test_generated_typescript_client_starts_run_and_reads_findings(
    stack: Stack, tmp_path: Path
) -> None:
    if not shutil.which("node") or not (TYPESCRIPT / "node_modules").is_dir():
        pytest.skip("openapi-typescript is not installed: run `make foreign`, which needs node")
    for name in ("client.ts", "package.json", "tsconfig.json"):
        shutil.copy(TYPESCRIPT / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(TYPESCRIPT / "node_modules")
    schema = str(_schema(stack, tmp_path))
    generate = ["openapi-typescript", schema, "--default-non-nullable", "false", "-o", "api.d.ts"]
    for name, *options in (generate, ["tsc", "--project", "."]):
        program = tmp_path / "node_modules" / ".bin" / name
        subprocess.run([program, *options], cwd=tmp_path, check=True)
    arguments = [stack.web, stack.facts["api_key"], stack.facts["org"], WORKFLOW, BAD]
    done = subprocess.run(
        ["node", "client.js", *arguments], cwd=tmp_path, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == _messages(stack)
