"""The Model Context Protocol endpoint, by the official client over ASGI."""

# mypy: disallow-untyped-calls=False

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from asgiref.sync import sync_to_async
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pytest_django import Settings

from tests.unit.validibot.api.conftest import Api
from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, Organisation
from validibot.core.asgi import ThreadedHandler
from validibot.mcp.views import MAX_MESSAGE_BYTES
from validibot.runs.events import listener
from validibot.runs.models import Run
from validibot.workflows.models import Workflow

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.anyio]

URL = "http://testserver/api/v1/mcp/"
MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


@pytest.fixture(autouse=True)
def _listener() -> Iterator[None]:
    """The listener's connection would keep the test database open."""
    yield
    listener.stop()


@asynccontextmanager
async def _session(api: Api) -> AsyncIterator[Client]:
    """Yield a client whose messages are each answered by a new web process."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await ThreadedHandler(threads=1)(scope, receive, send)

    transport = httpx2.ASGITransport(application)
    async with (
        httpx2.AsyncClient(transport=transport, headers=api.headers) as http,
        Client(streamable_http_client(URL, http_client=http)) as client,
    ):
        yield client


async def _call(client: Client, tool: str, **arguments: Any) -> Any:
    """Return the document that a tool answers with, or the text of its error."""
    answer = await client.call_tool(tool, arguments)
    texts = [part.text for part in answer.content if part.type == "text"]
    return texts[0] if answer.is_error else answer.structured_content


async def test_assistant_finds_workflow_and_reads_findings_of_its_run(
    alice: Api, people: Workflow
) -> None:
    async with _session(alice) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        listed = await _call(client, "list_workflows")
        described = await _call(client, "describe_workflow", workflow="people")
        content = base64.b64encode(b'{"age": "x"}').decode()
        sent = {"workflow": "people", "filename": "a.json", "content": content}
        started = await _call(
            client, "start_run", **sent, content_encoding="base64", inputs={"by": "me"}
        )
        run = {"run": started["id"]}
        ended = await _call(client, "get_run", **run, wait_seconds=20)
        first = await _call(client, "list_findings", **run, severity="ERROR")
        artifacts = await _call(client, "list_artifacts", **run, organisation="acme")

    reading = {
        name: tool.annotations and tool.annotations.read_only_hint for name, tool in tools.items()
    }
    assert (reading["get_run"], reading["start_run"]) == (True, False)
    assert [each["slug"] for each in listed["workflows"]] == ["people"]
    assert described["accepted_extensions"] == [".json"]
    assert (ended["state"], ended["result"]) == ("COMPLETED", "FAIL")
    assert ended["steps"][0]["finding_count"] == len(first["findings"]) == 2
    assert {each["path"] for each in first["findings"]} == {"", "/age"}
    assert first["next_cursor"] == ""
    assert artifacts == {"artifacts": []}


async def test_problems_of_the_api_are_tool_errors(victor: Api, people: Workflow) -> None:
    sent = {"workflow": "people", "filename": "a.json", "content": "{}"}
    async with _session(victor) as client:
        forbidden = await _call(client, "start_run", **sent)
        unknown = await _call(client, "describe_workflow", workflow="../runs")
        foreign = await _call(client, "list_workflows", organisation="other")
        malformed = await _call(client, "get_run", run="x")
        missing = await _call(client, "get_run", run="0" * 32, wait_seconds=5)

    assert "PERMISSION_DENIED" in forbidden
    assert "nothing at" in unknown
    assert "NOT_FOUND" in foreign
    assert "run" in malformed
    assert "There is no run" in missing
    assert not await sync_to_async(Run.objects.exists)()


async def test_scopes_of_the_key_and_of_several_organisations_hold(
    alice: Api, people: Workflow
) -> None:
    user = await sync_to_async(lambda: ApiKey.objects.get().user)()
    _, text = await sync_to_async(api_keys.issue)(user, "reader", scopes=["read"])
    second = await Organisation.objects.acreate(name="Second", slug="second")
    await second.memberships.acreate(user=user, role="viewer")
    alice.headers["Authorization"] = f"Bearer {text}"
    sent = {"workflow": "people", "filename": "a.json", "content": "{}"}

    async with _session(alice) as client:
        unnamed = await _call(client, "list_workflows")
        named = await _call(client, "list_workflows", organisation="acme")
        refused = await _call(client, "start_run", **sent, organisation="acme")

    assert "Name the organisation" in unnamed
    assert "acme, second" in unnamed
    assert len(named["workflows"]) == 1
    assert "scope launch" in refused or "PERMISSION_DENIED" in refused


def test_wsgi_server_answers_messages(alice: Api, people: Workflow) -> None:
    call = {"name": "list_organisations", "arguments": {}}
    message = MESSAGE | {"method": "tools/call", "params": call}

    answer = _send(alice, message)

    assert answer.status_code == 200, answer.content
    content = answer.json()["result"]["structuredContent"]
    assert content == {"organisations": [{"slug": "acme", "name": "Acme"}]}


def test_requests_that_are_no_messages_are_refused(
    alice: Api, charlie: Api, settings: Settings
) -> None:
    assert alice.get("mcp/").status_code == 405
    assert _send(Api(None), MESSAGE).status_code == 401
    assert _send(alice, MESSAGE, origin="https://evil.example").json()["code"] == "ORIGIN_REFUSED"
    assert _send(alice, "{").status_code == 400
    large = _send(alice, "x" * (MAX_MESSAGE_BYTES + 1))
    assert (large.status_code, large.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    settings.API_REQUESTS_PER_MINUTE = 1
    assert [_send(charlie, MESSAGE).status_code for _ in range(2)] == [200, 429]


def _send(api: Api, message: Any, **headers: str) -> Any:
    content = message if isinstance(message, str) else json.dumps(message)
    accept = {"accept": "application/json, text/event-stream"}
    return api.post("mcp/", content, "application/json", **accept, **headers)
