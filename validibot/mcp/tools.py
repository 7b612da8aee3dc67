"""The tools of the Model Context Protocol endpoint. Their docstrings are what an assistant reads.

A tool is a request or two of the public API (`api_calls`) and returns what an assistant needs of the
answer: documents of runs with thousands of findings would fill its context.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from validibot.api.launch import MAX_WAIT_SECONDS, WaitSlot
from validibot.core.asgi import in_thread
from validibot.core.problems import ApiError
from validibot.mcp.api_calls import ToolCaller
from validibot.runs import events

# The caller of the request that this task serves.
caller: ContextVar[ToolCaller] = ContextVar("mcp_caller")

MAX_FILE_BYTES = 4 * 1024 * 1024
_SHOWN_ISSUES = 5
_INSTRUCTIONS = (
    "Validibot validates files with workflows. Find a workflow with list_workflows, see with"
    " describe_workflow which file and inputs it takes, send the file with start_run, wait for the"
    " result with get_run and read all findings with list_findings. A run with the result FAIL has"
    " findings to mend in the file; one with ERROR could not be finished."
)
_ADVICE = "Call get_run without wait_seconds."

type OrganisationName = Annotated[
    str,
    Field(description="The organisation's slug; empty if the API key has one organisation only."),
]
type WorkflowName = Annotated[str, Field(description="The workflow's slug, from list_workflows.")]
type VersionNumber = Annotated[int | None, Field(description="A version; the latest without it.")]
type RunId = Annotated[UUID, Field(description="The run's id, from start_run.")]
type PageCursor = Annotated[
    str, Field(description="`next_cursor` of the page before; empty for the first page.")
]


async def list_organisations() -> dict[str, Any]:
    """List the organisations that the API key may use, with their slugs."""
    page = await in_thread(caller.get().get)("orgs/", page_size=200)
    return {"organisations": [_only(each, "slug", "name") for each in page["results"]]}


async def list_workflows(
    organisation: OrganisationName = "", cursor: PageCursor = ""
) -> dict[str, Any]:
    """List the workflows: their slugs, names and what they check."""
    page = await _read(organisation, "workflows/", cursor=cursor)
    names = ("slug", "name", "description", "version", "project")
    return _page("workflows", page, lambda each: _only(each, *names))


async def describe_workflow(
    workflow: WorkflowName, organisation: OrganisationName = "", version: VersionNumber = None
) -> dict[str, Any]:
    """Return what a workflow takes (file types, inputs as a JSON Schema) and the steps it checks."""
    found = await _read(organisation, f"workflows/{_part(workflow)}/", version=version)
    shown = _only(
        found, "slug", "name", "description", "version", "accepted_extensions", "input_schema"
    )
    steps = [
        {
            **_only(step, "step_number", "name", "description", "is_enabled"),
            "validator": step["validator"]["name"],
            "takes_further_files": step["validator"]["accepts_further_files"],
            "assertions": [
                _only(each, "expression", "severity", "message_template")
                for each in step["assertions"]
            ],
        }
        for step in found["steps"]
    ]
    return {**shown, "steps": steps}


async def start_run(  # noqa: PLR0913 - the parameters of a tool
    workflow: WorkflowName,
    content: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_FILE_BYTES * 4 // 3 + 4,
            description="The file's text, or its bytes in base64 with content_encoding base64.",
        ),
    ],
    *,
    filename: Annotated[str, Field(description="The file's name; its extension tells the type.")],
    content_encoding: Annotated[
        Literal["", "base64"], Field(description="base64, or empty for text.")
    ] = "",
    inputs: Annotated[
        dict[str, str] | None,
        Field(description="Values of the inputs that describe_workflow lists, as texts."),
    ] = None,
    organisation: OrganisationName = "",
    version: VersionNumber = None,
    name: Annotated[str, Field(max_length=255, description="A name for people.")] = "",
    idempotency_key: Annotated[
        str, Field(description="A call with the same key and file starts no second run.")
    ] = "",
) -> dict[str, Any]:
    """Start a run of a workflow on a file and return its id; then call get_run."""
    body = {
        "content": content,
        "content_encoding": content_encoding,
        "filename": filename,
        "metadata": inputs,
        "name": name,
    }
    org = await _organisation(organisation)
    place = f"orgs/{org}/workflows/{_part(workflow)}/"
    place += f"versions/{version}/runs/" if version else "runs/"
    post = in_thread(caller.get().post)
    return _run(await post(place, body, idempotency_key=idempotency_key))


async def get_run(
    run: RunId,
    organisation: OrganisationName = "",
    wait_seconds: Annotated[
        int,
        Field(ge=0, le=MAX_WAIT_SECONDS, description="Wait so long for the end of the run."),
    ] = 0,
) -> dict[str, Any]:
    """Return a run: state, result, and of each step its status, outputs and worst findings."""
    place = f"runs/{run}/"
    found = await _read(organisation, place)
    if wait_seconds and found["state"] != "COMPLETED":
        await _wait(run, wait_seconds)
        found = await _read(organisation, place)
    return _run(found)


async def list_findings(
    run: RunId,
    organisation: OrganisationName = "",
    severity: Literal["", "ERROR", "WARNING", "INFO"] = "",
    step: Annotated[int | None, Field(ge=1, description="The order of a step.")] = None,
    text: Annotated[str, Field(description="Text in the message.")] = "",
    cursor: PageCursor = "",
) -> dict[str, Any]:
    """List the findings of a run, 50 a page: message, path in the document, line, code, severity."""
    query = {"severity": severity, "step": step, "text": text, "cursor": cursor}
    page = await _read(organisation, f"runs/{run}/findings/", **query)
    names = ("step", "severity", "message", "path", "line", "column", "code")
    return _page("findings", page, lambda each: _only(each, *names))


async def list_artifacts(run: RunId, organisation: OrganisationName = "") -> dict[str, Any]:
    """List the files that a run has made; each is downloaded at its `url` with the API key."""
    found = await _read(organisation, f"runs/{run}/")
    names = ("name", "type", "mime_type", "size_bytes", "sha256", "url")
    artifacts = [
        {"step": step["order"], **_only(each, *names)}
        for step in found["steps"]
        for each in step["artifacts"]
    ]
    return {"artifacts": artifacts}


async def cancel_run(run: RunId, organisation: OrganisationName = "") -> dict[str, Any]:
    """Cancel a run that has not ended."""
    org = await _organisation(organisation)
    return _run(await in_thread(caller.get().post)(f"orgs/{org}/runs/{run}/cancel/", {}))


_READING = (
    *(list_organisations, list_workflows, describe_workflow),
    *(get_run, list_findings, list_artifacts),
)


def make_server() -> MCPServer[Any]:
    """Return the server with all tools. It keeps nothing between two messages."""
    server = MCPServer(name="validibot", instructions=_INSTRUCTIONS, subscriptions=False)
    reading = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in _READING:
        server.tool(annotations=reading)(tool)
    starting = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
    server.tool(annotations=starting)(start_run)
    cancelling = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)
    server.tool(annotations=cancelling)(cancel_run)
    return server


async def _read(organisation: str, path: str, **query: Any) -> Any:
    """Return the document at `path` of the organisation. Raises ToolError."""
    org = await _organisation(organisation)
    return await in_thread(caller.get().get)(f"orgs/{org}/{path}", **query)


async def _organisation(slug: str) -> str:
    """Return the organisation to ask: the one that is named, or the only one. Raises ToolError."""
    if slug:
        return _part(slug)
    page = await in_thread(caller.get().get)("orgs/", page_size=200)
    slugs = [each["slug"] for each in page["results"]]
    if len(slugs) != 1:
        known = ", ".join(slugs) or "none; ask an owner for an invitation"
        raise ToolError(f"Name the organisation. This API key may use: {known}.")
    return str(slugs[0])


async def _wait(run: UUID, seconds: int) -> None:
    """Wait for the end of the run in the event loop. Raises ToolError if too many calls wait."""
    try:
        slot = WaitSlot(caller.get().user_id, advice=_ADVICE)
    except ApiError as error:
        raise ToolError(str(error.detail)) from error
    ended = in_thread(events.has_ended)
    try:
        async with asyncio.timeout(seconds):
            async for _ in events.changes(run, ends_only=True):
                if await ended(run):
                    return
    except TimeoutError:
        pass
    finally:
        slot.release()


def _run(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an assistant needs of the document of a run."""
    names = (
        *("id", "state", "result", "error", "workflow_slug", "workflow_version", "filename"),
        *("created_at", "ended_at", "url"),
    )
    steps = [
        {
            **_only(step, "order", "name", "status", "error", "finding_count"),
            "worst_findings": [
                _only(each, "severity", "message", "path", "line", "code")
                for each in step["issues"][:_SHOWN_ISSUES]
            ],
            "outputs": {each["slug"]: each["value"] for each in step["output_values"]},
            "artifact_count": len(step["artifacts"]),
        }
        for step in document["steps"]
    ]
    return {**_only(document, *names), "steps": steps}


def _page(
    name: str, page: Mapping[str, Any], row: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Return a page of the API with its rows as `name`, and the cursor of the next page."""
    query = parse_qs(urlsplit(page["next"] or "").query)
    following = query.get("cursor", [""])[0]
    return {name: [row(each) for each in page["results"]], "next_cursor": following}


def _only(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names}


def _part(name: str) -> str:
    """Return a name as one segment of a path."""
    return quote(name, safe="")
