"""Flows of `DEBUGPY=web,worker,fmu make up`: an editor stops in a page, a task and a validator."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.flows import stack as stacks
from tests.flows.editor import Editor
from tests.flows.stack import Stack
from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("debugging")


@pytest.fixture(scope="module")
def debugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = stacks.make(tmp_path_factory.mktemp("stack") / "debugged")
    stacks.start(made, DEBUGPY="web,worker,fmu")
    yield made
    stacks.stop(made)


def editor(stack: Stack, name: str, *, file: str, line: str) -> Editor:
    return Editor(stack.facts["debuggers"][name], stop_at=(stack.root / file, line))


def test_status_has_ports_of_debuggers(debugged: Stack) -> None:
    table = debugged.devenv("status").stdout

    for name in ("web", "worker", "fmu"):
        assert f"Debug {name}" in table
        assert debugged.facts["debuggers"][name] in table


def test_breakpoint_stops_view(debugged: Stack) -> None:
    view = editor(
        debugged,
        "web",
        file="validibot/api/workflows.py",
        line="pages = PathCursorPagination(workflows",
    )
    with ThreadPoolExecutor() as threads, view:
        asked = threads.submit(debugged.api.get, "workflows/")

        assert view.value_there("org") == "'demo'"
        assert asked.result().status_code == 200


def test_breakpoint_stops_task_of_worker(debugged: Stack) -> None:
    sample = debugged.sample("meter-readings-schema")
    task = editor(debugged, "worker", file="validibot/worker/views.py", line="result = deliver(")
    with ThreadPoolExecutor() as threads, task:
        run = threads.submit(debugged.run, "meter-readings-schema", sample)

        assert "tasks@" in task.value_there("caller")
        assert run.result()["result"] == "PASS"


def test_validator_waits_for_debugger(debugged: Stack) -> None:
    sample = debugged.sample("fmu-decay")
    run = debugged.launch("fmu-decay", sample.read_bytes(), sample.name).json()

    with editor(debugged, "fmu", file="validators/fmu/validate.py", line="names = unpack(") as job:
        assert job.value_there("request.envelope.run_id") == f"'{run['id']}'"

    assert debugged.finished(run["id"])["result"] == "PASS"


def test_uvicorn_serves_with_environment_of_web(debugged: Stack) -> None:
    told = json.loads(debugged.devenv("env", "--role", "web", "--json").stdout)
    port = free_port()
    program = ("-m", "uvicorn", "config.asgi:application", "--port", str(port))
    server = subprocess.Popen(
        (sys.executable, *program), cwd=debugged.root, env=debugged.environ(**told)
    )
    try:
        url = f"http://localhost:{port}/api/v1/orgs/"
        key = {"Authorization": f"Bearer {debugged.facts['api_key']}"}
        assert debugged.until(lambda: httpx.get(url, headers=key).is_success)
    finally:
        server.terminate()
        server.wait()


def test_unknown_name_is_refused(tmp_path: Path) -> None:
    refused = stacks.make(tmp_path / "refused").devenv("up", DEBUGPY="web,energy")

    assert refused.returncode == 1
    assert (
        "DEBUGPY=energy is unknown; in this mode there are web, worker, energyplus, fmu, "
        "schematron, shacl" in refused.stderr
    )
