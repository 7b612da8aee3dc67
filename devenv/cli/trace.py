"""`trace`: the calls of a trace; the events of a run and its executions; or its callback once more."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from rich.console import Group, RenderableType

from devenv.cli.cloud import EmulatedAccount, LocalReply, ask, ask_cloud, calls_table
from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.local_stack import LocalStack
from devenv.services import declared, facts as stack_facts
from devenv.stack.problems import StackError
from devenv.tunnel.doors import CALLBACKS
from devenv.tunnel.saved import Callbacks, SavedCallback, Unreadable, load

_LONGEST = 100


def run(context: Context, *, run_id: str, replay: str) -> int:
    stack = context.running_stack()
    if replay:
        return _replay(stack, context, replay)
    facts = stack_facts.gather(context.config, stack, context.state())
    if "api_key" not in facts:  # this stack's product has no runs
        return _calls(context, UUID(run_id).hex)
    events = _events(facts, run_id)
    executions = [_execution(stack, name) for name in _named(events)] if stack.has_cloud else []
    context.output.result(
        {"run": run_id, "events": events, "executions": executions},
        Group(_timeline(events), *(_execution_table(one, stack) for one in executions)),
    )
    return 0


def _calls(context: Context, trace_id: str) -> int:
    """Print the calls of a trace in the order of their start."""
    calls = ask_cloud(context, f"traces/{trace_id}")["calls"]
    if not calls:
        raise StackError(f"No call has the trace {trace_id}.", hint="devenv journal --json")
    context.output.result(calls, calls_table(calls))
    return 0


def _replay(stack: LocalStack, context: Context, what: str) -> int:
    found = find_callback(stack, what)
    reply = post_callback(stack, found.saved)
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


def _events(facts: Mapping[str, Any], run_id: str) -> list[dict[str, Any]]:
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


_STORAGE = "storage.googleapis.com"
_PAGES = 20


@dataclass(frozen=True, slots=True)
class CallbackReplay:
    """A callback to post again, and its source."""

    saved: SavedCallback
    source: str


def find_callback(stack: LocalStack, what: str) -> CallbackReplay:
    """Return the callback that a file holds, or that belongs to a run. Raises StackError."""
    kept = Callbacks(stack.folder.state / "callbacks").latest(what)
    file = kept or Path(what)
    if file.is_file():
        try:
            return CallbackReplay(load(file), str(file))
        except Unreadable as error:
            raise StackError(str(error), hint="ls .devenv/callbacks") from error
    if stack.has_cloud:
        return CallbackReplay(*_as_the_container_would(stack, what))
    raise StackError(
        f"{what} is not a file, and no callback of this run was saved.", hint="ls .devenv/callbacks"
    )


def post_callback(stack: LocalStack, saved: SavedCallback) -> LocalReply:
    """Post it to the worker on this machine, which verifies the token as it always does."""
    headers = {
        "Content-Type": "application/json",
        "Host": urlsplit(_worker_url(stack)).netloc,
        **_authorization(stack, saved.caller),
    }
    return ask(stack.local_url("worker") + saved.path, headers=headers, body=saved.body.encode())


def _authorization(stack: LocalStack, caller: str) -> dict[str, str]:
    """Return the header with a token of the callback's sender, minted by the cloud of this mode."""
    if stack.has_cloud:
        token = EmulatedAccount(stack, caller.partition("@")[0]).id_token(_worker_url(stack))
    elif stack.has_tunnel:
        token = _googles(caller, _worker_url(stack))
    else:
        return {}  # without a cloud the nonce in the body is all that counts
    return {"Authorization": f"Bearer {token}"}


def _worker_url(stack: LocalStack) -> str:
    """Return the origin by which the worker is called, which is the audience of its callers."""
    return declared.variables(stack, "worker")["WORKER_URL"]


def _googles(caller: str, audience: str) -> str:
    from devenv.tunnel import google  # noqa: PLC0415 - Google's libraries, for this mode only

    try:
        return str(google.Google().send(google.id_token(caller, audience))["token"])
    except (google.CallFailed, KeyError) as error:
        raise StackError(
            f"Google gives you no ID token of {caller}: {error}.",
            hint=f"gcloud iam service-accounts add-iam-policy-binding {caller} --member "
            '"user:$(gcloud config get account)" '
            "--role roles/iam.serviceAccountOpenIdTokenCreator",
        ) from error


def _as_the_container_would(stack: LocalStack, run: str) -> tuple[SavedCallback, str]:
    """Return the callback of a run's latest attempt, from the envelope of its container."""
    bucket = stack.config.cloud.buckets[0]
    web = EmulatedAccount(stack, "web")
    names = sorted(
        (item["timeCreated"], item["name"])
        for item in _objects(web, bucket)
        if f"/{run}/" in item["name"] and item["name"].endswith("/input.json")
    )
    if not names:
        raise StackError(f"No container was launched for {run}.", hint="the id of a run, or a file")
    name = names[-1][1]
    path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    envelope = web.get(_STORAGE, path, alt="media")
    context = envelope["context"]
    body = {
        "run_id": run,
        "callback_id": context["callback_id"],
        "callback_nonce": context["callback_nonce"],
        "status": "success",
        "result_uri": context["expected_output_uri"],
    }
    kind = str(envelope["validator"]["type"]).lower()
    caller = next(
        (job.account for job in stack.config.cloud.jobs if kind in job.name),
        stack.config.cloud.jobs[0].account,
    )
    saved = SavedCallback(path=CALLBACKS, caller=caller, body=json.dumps(body))
    return saved, f"gs://{bucket}/{name}"


def _objects(web: EmulatedAccount, bucket: str) -> Iterator[dict[str, Any]]:
    token = ""
    for _ in range(_PAGES):
        query = {"prefix": "runs/", "maxResults": "1000"} | ({"pageToken": token} if token else {})
        page = web.get(_STORAGE, f"/storage/v1/b/{bucket}/o", **query)
        yield from page.get("items", ())
        token = page.get("nextPageToken", "")
        if not token:
            return
