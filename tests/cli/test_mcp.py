"""The stack's tools for an editor's assistant, by the official client of the protocol."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.checkout import ROOT
from tests.cli.project import CliProject
from tests.ports import on_free_ports

pytestmark = pytest.mark.xdist_group("devenv")

type Calls = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliProject]:
    folder = tmp_path_factory.mktemp("mcp") / "word-count"
    shutil.copytree(ROOT / "examples" / "word-count", folder)
    (folder / "devenv.toml").write_text(on_free_ports((folder / "devenv.toml").read_text()))
    project = CliProject(folder)
    done = project.devenv("up", "--detach")
    assert done.returncode == 0, done.stderr
    yield project
    project.devenv("down")


def _session(project: CliProject, *options: str, calls: Calls) -> Any:
    """Return the names of the tools, and the answer of each call: a text that is an error, or JSON."""

    async def talk() -> Any:
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "devenv", "mcp", *options],
            cwd=project.root,
            env=project.environ(),
        )
        async with Client(stdio_client(server)) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            answers = []
            for name, arguments in calls:
                answer = await client.call_tool(name, arguments)
                texts = [part.text for part in answer.content if part.type == "text"]
                answers.append(
                    "\n".join(texts) if answer.is_error else json.loads("\n".join(texts))
                )
            return names, answers

    return anyio.run(talk)


def test_assistant_sees_services_calls_and_refusals(up: CliProject) -> None:
    calls: Calls = [
        ("status", {}),
        ("logs", {"service": "gcp", "lines": 3}),
        ("logs", {"service": "moon"}),
        ("queues", {}),
        ("tasks", {"queue": "counts"}),
        ("tasks", {"queue": "../counts"}),
        ("permissions", {}),
        ("journal", {"method": "storage.*", "limit": 10**9}),
        ("trace", {"trace_id": "x"}),
    ]

    names, found = _session(up, calls=calls)

    assert "add_fault" not in names
    assert found[0]["services"]["web"]["state"] == "healthy"
    assert len(found[1]["gcp"]) <= 3
    assert "There is no log of 'moon'; there is gcp, " in found[2]
    assert found[3][0]["name"].endswith("/queues/counts")
    assert found[4] == []
    assert "'../counts' is not a short name" in found[5]
    assert "32 hexadecimal digits" in found[8]


def test_trace_prints_the_calls_of_its_id(up: CliProject) -> None:
    header = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    call = (
        "import google.auth; from google.auth.transport.requests import AuthorizedSession as S; "
        "url = 'https://storage.googleapis.com/storage/v1/b/word-count-files/o'; "
        f"print(S(google.auth.default()[0]).get(url, headers={header!r}).status_code)"
    )
    assert up.devenv("run", "--", sys.executable, "-c", call).returncode == 0

    done, unknown = up.devenv("trace", "ab" * 16), up.devenv("trace", "ef" * 16)
    assert "storage.objects.list" in done.stdout, done.stderr
    assert (unknown.returncode, "No call has the trace ef" in unknown.stderr) == (1, True)


def test_tools_in_an_empty_folder_name_the_next_command(tmp_path: Path) -> None:
    project = CliProject(tmp_path)

    names, (before, logs) = _session(project, calls=[("status", {}), ("logs", {})])
    assert {"status", "logs", "journal"} <= names
    assert "devenv.toml is not there. Next: devenv init" in before
    assert "Next: devenv init" in logs

    assert project.devenv("init").returncode == 0
    calls: Calls = [("status", {}), ("journal", {}), ("logs", {"service": "web"})]
    _, (status, journal, logs) = _session(project, calls=calls)
    assert (status["phase"], set(status["services"])) == ("stopped", {"web", "console"})
    assert "does not run. Next: devenv up" in journal
    assert "There is no log of 'web'" in logs


def test_assistant_changes_things_only_where_it_may(up: CliProject) -> None:
    fault = {"method": "storage.objects.insert", "status": 503, "times": 3}
    calls: Calls = [
        ("add_fault", fault),
        ("faults", {}),
        ("remove_faults", {}),
        ("add_fault", {"method": "no.such", "status": 503}),
        ("control_service", {"service": "worker", "command": "restart"}),
        ("advance_clock", {"by": "2h"}),
        ("clock", {}),
    ]

    _, refused = _session(up, calls=calls[:1])
    names, found = _session(up, "--allow-changes", calls=calls)

    assert "add_fault" in refused[0]
    assert {"add_fault", "control_service", "run_task"} <= names
    assert found[1][0]["method"] == "storage.objects.insert"
    assert "no.such" in found[3]
    assert found[6]["ahead"] >= 7200
    assert up.status()["services"]["worker"]["state"] == "healthy"
