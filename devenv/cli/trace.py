"""`trace`: the events of a run in order, and its executions; or its callback posted once more."""

import datetime as dt
import json
from typing import Any

from rich.console import Group, RenderableType

from devenv.cli import replay as callbacks
from devenv.cli.context import Context
from devenv.cli.local_http import EmulatedAccount, ask
from devenv.cli.output import table
from devenv.local_stack import LocalStack
from devenv.services import facts as stack_facts
from devenv.stack.problems import StackError

_LONGEST = 100


def run(context: Context, *, run_id: str, replay: str) -> int:
    stack = context.running_stack()
    if replay:
        return _replay(stack, context, replay)
    events = _events(stack, context, run_id)
    executions = [_execution(stack, name) for name in _named(events)] if stack.has_cloud else []
    context.output.result(
        {"run": run_id, "events": events, "executions": executions},
        Group(_timeline(events), *(_execution_table(one, stack) for one in executions)),
    )
    return 0


def _replay(stack: LocalStack, context: Context, what: str) -> int:
    found = callbacks.find(stack, what)
    reply = callbacks.post(stack, found.saved)
    answer = reply.json()
    rows = [
        ("From", found.source),
        ("Posted", stack.local_url("worker") + found.saved.path),
        ("As", found.saved.caller or "nobody"),
        ("Answer", f"{reply.status} {json.dumps(answer) if answer is not None else reply.text}"),
    ]
    data = {"source": found.source, "status": reply.status, "answer": answer}
    context.output.result(data, table(rows))
    return 0 if 200 <= reply.status < 300 else 1


def _events(stack: LocalStack, context: Context, run_id: str) -> list[dict[str, Any]]:
    facts = stack_facts.gather(context.config, stack, context.state())
    answer = ask(
        f"{facts['urls']['web']}/api/v1/orgs/{facts.get('org')}/runs/{run_id}/events/?page_size=200",
        headers={"Authorization": f"Bearer {facts['api_key']}"},
    )
    page = answer.json()
    if answer.status != 200 or not isinstance(page, dict):
        raise StackError(
            f"The API answers {answer.status} about the run {run_id}: {answer.text[:300]}",
            hint="is it a run of the demo organisation?",
        )
    return list(page["results"])


def _timeline(events: list[dict[str, Any]]) -> RenderableType:
    if not events:
        return "  There are no events yet."
    began = _moment(events[0])
    rows = [
        (
            f"{_moment(event):%H:%M:%S}",
            f"+{(_moment(event) - began).total_seconds():.3f} s",
            f"step {event['step']}" if event["step"] is not None else "",
            str(event["kind"]),
            str(event["actor"]),
            _short(event),
        )
        for event in events
    ]
    return table(rows)


def _moment(event: dict[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(str(event["at"]))


def _short(event: dict[str, Any]) -> str:
    data = ", ".join(f"{key} {value}" for key, value in (event.get("data") or {}).items())
    text = "; ".join(part for part in (str(event.get("message") or ""), data) if part)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _named(events: list[dict[str, Any]]) -> list[str]:
    found = [str((event.get("data") or {}).get("execution", "")) for event in events]
    return [name for name in dict.fromkeys(found) if name.startswith("projects/")]


def _execution(stack: LocalStack, name: str) -> dict[str, Any]:
    execution = EmulatedAccount(stack, "worker").get("run.googleapis.com", f"/v2/{name}")
    conditions: list[dict[str, Any]] = execution.get("conditions", [])
    completed = next((one for one in conditions if one["type"] == "Completed"), {})
    return {
        "name": name,
        "state": str(completed.get("state", "")),
        "message": str(completed.get("message", "")),
        "started": str(execution.get("startTime", "")),
        "ended": str(execution.get("completionTime", "")),
    }


def _execution_table(execution: dict[str, Any], stack: LocalStack) -> Group:
    short = execution["name"].rpartition("/")[2]
    logs = stack.folder.cloud / "logs" / short
    rows = [
        ("Execution", short),
        ("State", f"{execution['state']}  {execution['message']}"),
        ("Ran", f"{execution['started']} … {execution['ended']}"),
        ("Logs", str(logs)),
    ]
    return Group("", table(rows))
