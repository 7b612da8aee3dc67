"""`journal`, `missing`, `fault` and `clock`: calls to the emulated cloud, their faults, its time.

Requests to servers on this machine pass every proxy by, also those as an account of the emulated
cloud.
"""

import datetime as dt
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from rich.text import Text

from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.console.cloud import CloudClient
from devenv.gcp.control import TOKEN_FILE
from devenv.local_stack import LocalStack
from devenv.stack.problems import StackError

_TIMEOUT = 30.0
_LARGEST = 8 * 1024 * 1024
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class LocalReply:
    """Answer of a server, whatever its status."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON, None if it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def ask(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    verb: str | None = None,
) -> LocalReply:
    """GET, or POST if there is a body, or `verb`. Raises StackError if the server does not answer."""
    request = urllib.request.Request(  # noqa: S310
        url, data=body, headers=dict(headers or {}), method=verb
    )
    try:
        with _DIRECT.open(request, timeout=_TIMEOUT) as answer:
            return LocalReply(answer.status, answer.read(_LARGEST))
    except urllib.error.HTTPError as error:
        with error:
            return LocalReply(error.code, error.read(_LARGEST))
    except OSError as error:
        raise StackError(f"{url} does not answer: {error}.", hint="make status") from error


@dataclass(frozen=True, slots=True)
class EmulatedAccount:
    """A service account of the running stack; `name` is its short name."""

    stack: LocalStack
    name: str

    def id_token(self, audience: str) -> str:
        query = urlencode({"audience": audience, "format": "full"})
        return self._metadata(f"identity?{query}").text

    def get(self, host: str, path: str, **query: str) -> Any:
        """Return the JSON of a Google API. Raises StackError."""
        token = (self._metadata("token").json() or {}).get("access_token", "")
        url = f"http://127.0.0.1:{self.stack.ports['gcp']}{path}"
        headers = {"Host": host, "Authorization": f"Bearer {token}"}
        answer = ask(f"{url}?{urlencode(query)}" if query else url, headers=headers)
        if answer.status != 200:
            raise StackError(f"{host}{path} answers {answer.status}: {answer.text[:300]}")
        return answer.json()

    def _metadata(self, path: str) -> LocalReply:
        host = self.stack.identity(self.name)["GCE_METADATA_HOST"]
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/{path}"
        return ask(url, headers={"Metadata-Flavor": "Google"})


_EFFECTS = ("status", "delay", "reset", "lose_answer", "duplicate", "reorder", "outcome")


def journal(context: Context, *, lines: int, **wanted: str) -> int:
    """Print the newest calls, the newest last."""
    query = {name: text for name, text in wanted.items() if text} | {"limit": str(lines)}
    calls = ask_cloud(context, f"journal?{urlencode(query)}")["calls"]
    shown = calls_table(reversed(calls)) if calls else "  No call matches."
    context.output.result(calls, shown)
    return 0


def calls_table(calls: Iterable[dict[str, Any]]) -> Text:
    """Return calls of the journal as rows."""
    rows = [
        (
            dt.datetime.fromtimestamp(call["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3],
            call["caller"].partition("@")[0] or "-",
            call["method"],
            call["status"],
            f"{call['milliseconds']:.1f} ms",
            ""
            if call["decision"] == "open"
            else f"{call['permission']} {call['decision']}".strip(),
            call["fault"] and f"fault {call['fault']}",
            call["resource"],
        )
        for call in calls
    ]
    return table(rows)


def missing(context: Context) -> int:
    """Print the methods that programs asked for and that are not emulated."""
    found = ask_cloud(context, "missing")["missing"]
    rows = [
        (each["method"], f"{each['calls']} calls", ", ".join(each["callers"])) for each in found
    ]
    context.output.result(found, table(rows) if rows else "  Nothing was missing.")
    return 0


def add_fault(context: Context, *, seconds: float, **fields: Any) -> int:
    """Add a fault, which ends after `seconds` if they are given."""
    if seconds:
        fields["until"] = time.time() + seconds
    given = {name: value for name, value in fields.items() if value or name == "times"}
    fault = ask_cloud(context, "faults", verb="POST", body=given)
    context.output.result(fault, f"  Fault {fault['id']}: {_described(fault)}")
    return 0


def list_faults(context: Context) -> int:
    """Print all faults, with how often each has struck and still will."""
    faults = ask_cloud(context, "faults")["faults"]
    rows = [
        (str(each["id"]), _described(each), f"struck {each['struck']}", f"{each['times']} left")
        for each in faults
    ]
    context.output.result(faults, table(rows) if rows else "  There is no fault.")
    return 0


def remove_faults(context: Context, *, number: int | None) -> int:
    """Remove one fault, or all."""
    path = "faults" if number is None else f"faults/{number}"
    answer = ask_cloud(context, path, verb="DELETE")
    context.output.result(answer, f"  {answer['removed']} removed")
    return 0


def show_clock(context: Context) -> int:
    """Print the time of the emulated cloud."""
    return _print_clock(context, ask_cloud(context, "clock"))


def turn_clock(context: Context, **turn: str) -> int:
    """Turn the clock: `advance` by a duration, or `set` it to a time."""
    return _print_clock(context, ask_cloud(context, "clock", verb="POST", body=turn))


def reset_clock(context: Context) -> int:
    """Give the emulated cloud the machine's time again."""
    return _print_clock(context, ask_cloud(context, "clock", verb="DELETE"))


def _print_clock(context: Context, answer: dict[str, Any]) -> int:
    ahead = dt.timedelta(seconds=round(answer["ahead"]))
    where = f"{ahead} ahead of this machine" if ahead else "the time of this machine"
    context.output.result(answer, f"  {answer['time'].partition('.')[0]}Z, {where}")
    return 0


def cloud_client(stack: LocalStack) -> CloudClient:
    """Return a client of a stack's emulated cloud. Raises StackError if it has none."""
    data = _token_file(stack).parent
    return CloudClient(f"http://127.0.0.1:{stack.ports['gcp']}", data)


def _token_file(stack: LocalStack) -> Path:
    token = stack.folder.cloud / TOKEN_FILE
    if not stack.has_cloud or not token.is_file():
        raise StackError(
            "This stack has no emulated cloud of its own.",
            hint="add a table [services.gcp] to devenv.toml, or choose a profile that has one",
        )
    return token


def _described(fault: dict[str, Any]) -> str:
    effects = [
        name.replace("_", " ")
        if fault[name] is True
        else f"{name} {fault[name]}".removesuffix(".0")
        for name in _EFFECTS
        if fault[name]
    ]
    limits = [f"{name} {fault[name]}" for name in ("resource", "caller") if fault[name] != "*"]
    return " ".join([fault["method"], *limits, "→", ", ".join(effects)])


def ask_cloud(
    context: Context, path: str, *, verb: str = "GET", body: dict[str, Any] | None = None
) -> Any:
    """Return the answer of the control API. Raises StackError with its refusal."""
    stack = context.running_stack()
    token = _token_file(stack)
    answer = ask(
        f"http://127.0.0.1:{stack.ports['gcp']}/_devenv/{path}",
        headers={"Authorization": f"Bearer {token.read_text()}"},
        body=None if body is None else json.dumps(body).encode(),
        verb=verb,
    )
    if answer.status >= 400:
        refusal = (answer.json() or {}).get("error", {}).get("message", answer.text[:300])
        raise StackError(
            str(refusal), hint=f"devenv {re.split('[?/]', path)[0].rstrip('s')} --help"
        )
    return answer.json()
