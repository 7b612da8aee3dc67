"""`mcp`: the running stack as tools of the Model Context Protocol, over standard input and output.

An editor's assistant looks with the first set of tools; the second one changes things, and is there
only with `--allow-changes`. https://modelcontextprotocol.io/specification
"""

import json
import re
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, ParamSpec
from urllib.parse import urlsplit, urlunsplit

from devenv.cli.cloud import cloud_client
from devenv.cli.context import Context
from devenv.cli.logs import LogChoice
from devenv.cli.module import project_folder
from devenv.cli.output import CliOutput
from devenv.config import FILE, load
from devenv.console.cloud import RUN, TASKS, CloudClient
from devenv.console.job_pages import may_be_secret
from devenv.console.local import StackView
from devenv.console.problems import ConsoleProblem
from devenv.gcp.tables import ConfigError
from devenv.services import facts
from devenv.stack.logfile import LogLevel, read
from devenv.stack.problems import StackError

P = ParamSpec("P")

_MOST_LINES = 500
_MOST_ROWS = 100
_LONGEST_LINE = 2000
_LEFT_OUT = "(left out)"
_INSTRUCTIONS = (
    "The developer environment of this folder: its services, their logs, and the emulated Google "
    "Cloud with a journal of each call. Begin with `status`. Why something failed: `logs` with the "
    "level warning, `journal` with a status or the decision denied, `missing`."
)


def run(output: CliOutput, *, allow_changes: bool) -> int:
    """Serve until standard input ends; return 1 where the package mcp is missing.

    Editors start this once, perhaps before there is a devenv.toml: each call reads it anew.
    """
    try:
        from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 - an extra
        from mcp.types import ToolAnnotations  # noqa: PLC0415 - as above
    except ImportError:
        output.fail("The package mcp is not installed.", hint="pip install 'mcp>=2.3,<3'")
        return 1
    tools = StackTools(lambda: Context(config=load(project_folder()), output=output))
    server = MCPServer(name="devenv", instructions=_INSTRUCTIONS, log_level="WARNING")
    looking = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in tools.looking():
        server.tool(annotations=looking, structured_output=False)(_telling(tool, output))
    changing = ToolAnnotations(read_only_hint=False, open_world_hint=False)
    for tool in tools.changing() if allow_changes else ():
        server.tool(annotations=changing, structured_output=False)(_telling(tool, output))
    server.run()
    return 0


def _telling(tool: Callable[P, Any], output: CliOutput) -> Callable[P, str]:
    """Return a tool that answers with one JSON text, also an empty list; its errors name the next step."""
    from mcp.server.mcpserver.exceptions import ToolError  # noqa: PLC0415 - an extra

    @wraps(tool)
    def call(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return json.dumps(tool(*args, **kwargs), indent=2, ensure_ascii=False)
        except StackError as error:
            hint = f" Next: {error.hint}" if error.hint else ""
            raise ToolError(output.worded(f"{error.message}{hint}")) from error
        except ConfigError as error:
            next_step = f"edit {FILE}" if (project_folder() / FILE).exists() else "devenv init"
            raise ToolError(f"{error} Next: {next_step}") from error
        except ConsoleProblem as error:
            raise ToolError(str(error)) from error

    return call


class StackTools:
    """The tools. Their docstrings and parameters are what the assistant reads."""

    def __init__(self, load_context: Callable[[], Context]) -> None:
        self._load_context = load_context

    @property
    def _context(self) -> Context:
        return self._load_context()

    def looking(self) -> tuple[Callable[..., Any], ...]:
        """Return the tools that change nothing."""
        cloud = (self.journal, self.missing, self.traces, self.trace, self.permissions)
        work = (self.queues, self.tasks, self.subscriptions, self.jobs, self.executions)
        return (self.status, self.logs, *cloud, *work, self.faults, self.clock)

    def changing(self) -> tuple[Callable[..., Any], ...]:
        """Return the tools that change the stack or what it does."""
        cloud = (self.add_fault, self.remove_faults, self.advance_clock)
        return (self.control_service, *cloud, self.run_task, self.cancel_execution)

    def status(self) -> dict[str, Any]:
        """Return the services with state, restarts and URL; without passwords and tokens."""
        context = self._context
        state = context.state()
        stack = context.stack_of(state)
        found = facts.gather(context.config, stack, state, written={})
        urls = {name: _public(url) for name, url in found["urls"].items()}
        phase = state.phase if context.is_running() else "stopped"
        known = {
            n: {"state": "stopped"} for n in stack.config.services if stack.config.is_started(n)
        }
        kept = {"name": found["name"], "mode": found["mode"]}
        kept["services"] = known | found["services"]
        return {**kept, "phase": phase, "urls": urls, "folder": str(context.config.root)}

    def logs(
        self,
        service: str = "",
        *,
        since: str = "",
        level: LogLevel = LogLevel.DEBUG,
        grep: str = "",
        lines: int = 100,
    ) -> dict[str, list[str]]:
        """Return the newest log lines of each service, or of one.

        `since` is 10m, 2h, 14:05 or an ISO time; `level` the lowest severity; `grep` a regular
        expression; `lines` at most 500 of each service.
        """
        count = max(1, min(lines, _MOST_LINES))
        choice = LogChoice.parse(since=since, lines=count, level=level, grep=grep)
        folder = self._context.config.logs
        known = sorted({path.stem for path in folder.glob("*.log")})
        if service and service not in known:
            raise StackError(f"There is no log of {service!r:.60}; there is {', '.join(known)}.")
        names = [service] if service else known
        filters = choice.filters(names)
        found = {}
        for name in names:
            old = read(folder / f"{name}.log", since=choice.since)
            passed = (line[:_LONGEST_LINE] for line in old if filters[name].passes(line))
            found[name] = list(deque(passed, maxlen=count))
        return found

    def journal(
        self,
        method: str = "",
        resource: str = "",
        caller: str = "",
        status: str = "",
        decision: Literal[
            "", "allowed", "denied", "open", "refused", "unauthenticated", "fault", "unknown"
        ] = "",
        limit: int = 50,
    ) -> Any:
        """Return the newest calls to the emulated cloud: caller, permission, decision, status.

        In `method`, `resource` and `caller`, * stands for any text: `storage.*`. `status` is 503 or
        NOT_FOUND.
        """
        wanted: dict[str, Any] = {"method": method, "resource": resource, "caller": caller}
        limits: dict[str, Any] = {"status": status, "decision": decision, "limit": _bounded(limit)}
        return self._cloud().control("journal", **wanted, **limits)["calls"]

    def missing(self) -> Any:
        """Return the methods that programs asked the emulated cloud for and that it does not have."""
        return self._cloud().control("missing")["missing"]

    def traces(self, before: int = 0) -> Any:
        """Return the latest traces; `before` is the number of the last one that was seen."""
        return self._cloud().control("traces", before=before or "")["traces"]

    def trace(self, trace_id: str) -> Any:
        """Return the calls of a trace in the order of their start. The id has 32 hex digits."""
        if not re.fullmatch(r"[0-9a-f]{32}", trace_id):
            raise StackError(f"{trace_id!r:.60} is not an id of 32 hexadecimal digits.")
        return self._cloud().control(f"traces/{trace_id}")["calls"]

    def permissions(self) -> dict[str, Any]:
        """Return what each account used and may, what was refused, and the roles that suffice."""
        return self._cloud().control("permissions")

    def queues(self) -> Any:
        """Return the queues of Cloud Tasks with their depth and deliveries."""
        return self._cloud().control("queues")["queues"]

    def tasks(self, queue: str, limit: int = 50) -> Any:
        """Return tasks of a queue (its short name), the next ones first; as `jobs` does."""
        path = f"{self._queue(queue)}/tasks"
        found = self._cloud().api(TASKS, path, pageSize=_bounded(limit))
        return _without_secrets(found.get("tasks", []))

    def subscriptions(self) -> dict[str, Any]:
        """Return the topics of Pub/Sub, and its subscriptions with their depth."""
        return self._cloud().control("subscriptions")

    def jobs(self) -> Any:
        """Return the Cloud Run jobs; variables that look like secrets have no value."""
        cloud = self._cloud()
        path = f"/v2/{cloud.location()}/jobs"
        return _without_secrets(cloud.api(RUN, path, pageSize=_MOST_ROWS).get("jobs", []))

    def executions(self, job: str, limit: int = 20) -> Any:
        """Return the executions of a job (its short name), the newest first; as `jobs` does."""
        path = f"{self._job(job)}/executions"
        found = self._cloud().api(RUN, path, pageSize=_bounded(limit))
        return _without_secrets(found.get("executions", []))

    def faults(self) -> Any:
        """Return the faults that make calls fail on purpose, and how often each struck."""
        return self._cloud().control("faults")["faults"]

    def clock(self) -> dict[str, Any]:
        """Return the time of the emulated cloud, and by how many seconds it is ahead."""
        return self._cloud().control("clock")

    def control_service(
        self, service: str, command: Literal["start", "stop", "restart"]
    ) -> dict[str, str]:
        """Start, stop or restart a service; `restart` of a step runs it again."""
        self._context.running_stack()
        StackView(self._context.config.state).command(command, service)
        return {"service": service, "done": command}

    def add_fault(  # noqa: PLR0913, PLR0917 - fields of a fault
        self,
        method: str,
        status: int = 0,
        delay: float = 0.0,
        reset: bool = False,
        lose_answer: bool = False,
        duplicate: bool = False,
        reorder: bool = False,
        outcome: Literal["", "crash", "out_of_memory", "hang"] = "",
        times: int = 1,
        resource: str = "*",
        caller: str = "*",
    ) -> Any:
        """Make the next `times` calls of a method fail: with a status, late, cut, or unanswered.

        `method` is named as in the journal: `storage.objects.insert`, `deliver`. `duplicate` and
        `reorder` are for `deliver`, and `outcome` for the attempts of jobs, `run.attempt`.
        """
        fields = {
            "method": method,
            "times": times,
            "resource": resource,
            "caller": caller,
            "status": status,
            "delay": delay,
            "reset": reset,
            "lose_answer": lose_answer,
            "duplicate": duplicate,
            "reorder": reorder,
            "outcome": outcome,
        }
        body = {name: value for name, value in fields.items() if value}
        return self._cloud().control("faults", verb="POST", body=body)

    def remove_faults(self, number: int = 0) -> Any:
        """Remove a fault by its id, or all."""
        path = f"faults/{number}" if number else "faults"
        return self._cloud().control(path, verb="DELETE")

    def advance_clock(self, by: str) -> dict[str, Any]:
        """Turn the clock of the emulated cloud forward: 90s, 10m, 2h, 1d; what becomes due happens."""
        return self._cloud().control("clock", verb="POST", body={"advance": by})

    def run_task(self, queue: str, task: str) -> Any:
        """Deliver a task of a queue now (short names)."""
        path = f"{self._queue(queue)}/tasks/{_name(task)}:run"
        return self._cloud().api(TASKS, path, verb="POST", body={})

    def cancel_execution(self, job: str, execution: str) -> Any:
        """Cancel a running execution of a job (short names)."""
        path = f"{self._job(job)}/executions/{_name(execution)}:cancel"
        return self._cloud().api(RUN, path, verb="POST", body={})

    def _cloud(self) -> CloudClient:
        return cloud_client(self._context.running_stack())

    def _queue(self, queue: str) -> str:
        return f"/v2/{self._cloud().location()}/queues/{_name(queue)}"

    def _job(self, job: str) -> str:
        return f"/v2/{self._cloud().location()}/jobs/{_name(job)}"


def _bounded(limit: int) -> int:
    return max(1, min(limit, _MOST_ROWS))


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,500}", text):
        raise StackError(f"{text!r:.60} is not a short name: letters, digits, hyphens.")
    return text


def _without_secrets(value: Any) -> Any:
    """Return an answer without the values of variables and headers that look like secrets."""
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "value" in value and may_be_secret(str(value.get("name", "")), str(value["value"])):
        return {**value, "value": _LEFT_OUT}
    return {
        name: _without_headers(one) if name == "headers" else _without_secrets(one)
        for name, one in value.items()
    }


def _without_headers(headers: dict[str, str]) -> dict[str, str]:
    return {
        name: _LEFT_OUT if may_be_secret(name, value) else value for name, value in headers.items()
    }


def _public(url: str) -> str:
    """Return a URL without password and query: both let their reader in."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
