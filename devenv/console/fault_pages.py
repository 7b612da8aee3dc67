"""Pages that change how the stack behaves: faults of the emulated cloud, and snapshots of its data.

They also list caught mails, which the mail catcher's own page shows whole.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import urllib3
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import CloudClient
from devenv.console.local import StackView
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell
from devenv.stack.problems import StackError
from devenv.stack.snapshot import Snapshot, SnapshotStore

_STATUSES = (503, 500, 504, 429, 409, 404, 403, 401, 400)
_LINES = 20
_MAILS = 100


class FaultPages:
    """Routes of faults."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        act, post = self._shell.action, ["POST"]
        return [
            Route("/faults", self.faults),
            Route("/faults/add", act(self.add), methods=post),
            Route("/faults/remove", act(self.remove), methods=post),
        ]

    def faults(self, request: Request) -> Response:
        return self._shell.page(
            request,
            "faults.html",
            place="faults",
            faults=self._cloud.control("faults")["faults"],
            statuses=_STATUSES,
            method=request.query_params.get("method", ""),
        )

    def add(self, _request: Request, form: FormData) -> str:
        effect, seconds = str(form.get("effect", "")), _number(form, "seconds")
        fault: dict[str, Any] = {
            "method": str(form.get("method", "")).strip(),
            "resource": str(form.get("resource", "")).strip() or "*",
            "caller": str(form.get("caller", "")).strip() or "*",
            "delay": _number(form, "delay"),
            "times": int(_number(form, "times")),
            "until": time.time() + seconds if seconds else 0.0,
        }
        if effect.isdecimal():
            fault["status"] = int(effect)
        elif effect in ("reset", "lose_answer", "duplicate", "reorder"):
            fault[effect] = True
        elif effect:
            fault["outcome"] = effect
        made = self._cloud.control("faults", verb="POST", body=fault)
        return f"Fault {made['id']} added."

    def remove(self, _request: Request, form: FormData) -> str:
        number = str(form.get("id", ""))
        path = f"faults/{number}" if number.isdecimal() else "faults"
        removed = self._cloud.control(path, verb="DELETE")["removed"]
        return f"{removed} removed."


def _number(form: FormData, name: str) -> float:
    text = str(form.get(name, "")).strip()
    try:
        return float(text or 0)
    except ValueError as error:
        raise ConsoleProblem(f"{name} is {text[:40]!r}; it must be a number.") from error


class SnapshotPages:
    """Routes of snapshots. Saving and loading pauses the stack, and the console with it."""

    def __init__(self, shell: Shell, stack: StackView) -> None:
        self._shell = shell
        self._folder = stack.folder
        self._output = stack.logs / "snapshot.out"
        self._store = SnapshotStore(stack.folder)

    def routes(self) -> list[Route]:
        act, post = self._shell.action, ["POST"]
        return [
            Route("/snapshots", self.snapshots),
            Route("/snapshots/save", act(self.save), methods=post),
            Route("/snapshots/load", act(self.load), methods=post),
            Route("/snapshots/delete", act(self.delete), methods=post),
        ]

    def snapshots(self, request: Request) -> Response:
        found: list[Snapshot] = []
        problems = []
        for name in self._store.names():
            try:
                found.append(self._store.get(name))
            except StackError as error:
                problems.append(error.message)
        return self._shell.page(
            request,
            "snapshots.html",
            place="snapshots",
            snapshots=found,
            problems=problems,
            output=_last_lines(self._output),
        )

    def save(self, _request: Request, form: FormData) -> str:
        name = str(form.get("name", "")).strip()
        replace = ["--replace"] if form.get("replace") else []
        self._start("save", "--", name, before=replace)
        return f"The stack pauses while {name} is saved; this page comes back in some seconds."

    def load(self, _request: Request, form: FormData) -> str:
        name = self._known(form)
        self._start("load", "--", name)
        return f"The stack pauses while {name} is loaded; this page comes back in some seconds."

    def delete(self, _request: Request, form: FormData) -> str:
        name = self._known(form)
        self._store.delete(name)
        return f"{name} deleted."

    def _known(self, form: FormData) -> str:
        name = str(form.get("name", ""))
        if name not in self._store.names():
            raise ConsoleProblem(f"There is no snapshot {name[:70]!r}.", status=404)
        return name

    def _start(self, command: str, *words: str, before: list[str] | None = None) -> None:
        """Start `devenv snapshot` in a session of its own, so that it outlives this process."""
        options = before or []
        self._output.parent.mkdir(parents=True, exist_ok=True)
        with self._output.open("w") as output:
            subprocess.Popen(
                [sys.executable, "-m", "devenv", "snapshot", command, *options, *words],
                cwd=self._folder.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
            )


def _last_lines(path: Path) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-_LINES:])


class MailPages:
    """The route of caught mails, from the API of the mail catcher at `url`."""

    def __init__(self, shell: Shell, url: str, *, page: str) -> None:
        """Link to the mail catcher by the URL `page`, which a browser can reach."""
        self._shell = shell
        self._url = url.rstrip("/")
        self._page = page.rstrip("/")
        self._pool = urllib3.PoolManager(retries=False, timeout=5)

    def routes(self) -> list[Route]:
        return [Route("/mail", self.mails)]

    def mails(self, request: Request) -> Response:
        try:
            answer = self._pool.request("GET", f"{self._url}/api/v1/messages?limit={_MAILS}")
            mails = json.loads(answer.data)["messages"]
        except (urllib3.exceptions.HTTPError, ValueError, KeyError) as error:
            raise ConsoleProblem(
                "The mail catcher does not answer. devenv status tells the state of the service mail.",
                status=503,
            ) from error
        return self._shell.page(request, "mail.html", place="mail", mails=mails, url=self._page)
