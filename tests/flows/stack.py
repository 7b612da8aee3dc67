"""The whole stack of this checkout, started in its own folder."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from tests.checkout import ROOT, link_parts
from tests.cli.project import CliProject
from tests.containers import Servers
from tests.flows import prepared
from tests.ports import on_free_ports
from tests.waiting import growth, until

_PARTS = (
    *("config", "containers", "devenv", "docs", "examples", "manage.py", "tests"),
    *("validators", "validibot"),
)


@dataclass(frozen=True)
class Stack(CliProject):
    """A running stack and its public API, called as the demo user."""

    mock: bool = False
    servers: Servers | None = None

    @property
    def jobs(self) -> str:
        return "docker" if self.servers else "process"

    def environ(self, **variables: str) -> dict[str, str]:
        wanted = {"MOCK_VALIDATORS": "1" if self.mock else "", "JOBS": self.jobs}
        return super().environ(**wanted | variables)

    @cached_property
    def facts(self) -> dict[str, Any]:
        return self.status()

    @cached_property
    def api(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.facts['urls']['web']}/api/v1/orgs/{self.facts['org']}/",
            headers={"Authorization": f"Bearer {self.facts['api_key']}"},
            timeout=90,
        )

    @property
    def web(self) -> str:
        return str(self.facts["urls"]["web"])

    def sample(self, slug: str, kind: str = "sample") -> Path:
        """Return the passing (`sample`) or failing (`failing_sample`) file of a workflow."""
        (found,) = [w for w in self.facts["workflows"] if w["slug"] == slug]
        return Path(found[kind])

    def launch(self, slug: str, content: bytes, filename: str, **headers: str) -> httpx.Response:
        """Post a file as the raw body."""
        headers = {"X-Filename": filename, "Content-Type": "application/octet-stream"} | headers
        return self.api.post(f"workflows/{slug}/runs/", content=content, headers=headers)

    def run(self, slug: str, path: Path) -> dict[str, Any]:
        """Launch a file and return the finished run."""
        answer = self.launch(slug, path.read_bytes(), path.name, Prefer="wait=60")
        assert answer.status_code in (201, 202), answer.text
        document: dict[str, Any] = answer.json()
        return document if answer.status_code == 201 else self.finished(document["id"])

    def get_run(self, pk: str) -> dict[str, Any]:
        document: dict[str, Any] = self.api.get(f"runs/{pk}/").raise_for_status().json()
        return document

    def history(self, pk: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = (
            self.api.get(f"runs/{pk}/events/?page_size=200").raise_for_status().json()["results"]
        )
        return events

    def events(self, pk: str) -> list[str]:
        return [event["kind"] for event in self.history(pk)]

    def told(self, pk: str, kind: str, key: str) -> str:
        """Return the value of `key` in the first event of a kind."""
        return next(str(event["data"][key]) for event in self.history(pk) if event["kind"] == kind)

    def until(self, question: Callable[[], Any], *, seconds: float = 60) -> Any:
        """Wait until the answer is true; ignore errors of a service that is being restarted.

        The time limit begins anew whenever a service writes to its log.
        """
        logs = growth(self.root / ".devenv" / "logs")
        return until(question, seconds=seconds, every=0.2, progress=logs, forgive=httpx.HTTPError)

    def finished(self, pk: str, *, seconds: float = 120) -> dict[str, Any]:
        """Wait for the end of a run and return it."""

        def ended() -> dict[str, Any] | None:
            document = self.get_run(pk)
            return document if document["state"] == "COMPLETED" else None

        document: dict[str, Any] = self.until(ended, seconds=seconds)
        return document


def make(
    root: Path,
    *,
    mock: bool = False,
    validators: Sequence[str] = (),
    cloud: str = "",
    servers: Servers | None = None,
) -> Stack:
    """Create a folder in which `up` starts this checkout.

    `validators` are further accounts with the rights of a validator; `cloud` is added to the
    devenv.toml. With `servers`, jobs and the servers that the stack depends on are containers.
    """
    root.mkdir(parents=True)
    link_parts(root, _PARTS)
    (root / "Makefile").write_text("up:\n\tpython -m devenv up\n")
    text = on_free_ports((ROOT / "devenv.toml").read_text())
    for account in validators:
        text = _with_account(text, account, like="validator-fmu")
    if servers:
        text = servers.in_place_of_built_in(text)
    (root / "devenv.toml").write_text(text + cloud)
    return Stack(root, mock, servers)


def _with_account(text: str, account: str, *, like: str) -> str:
    lines = []
    for line in text.splitlines(keepends=True):
        lines.append(line)
        if f'member = "{like}"' in line:
            lines.append(line.replace(like, account))
    return "".join(lines).replace("accounts = [", f'accounts = [ "{account}",', 1)


def start(stack: Stack, *, fresh: bool = False, **variables: str) -> None:
    """Run `up --detach`, which must report that everything is ready.

    It begins with a migrated database, unless `fresh` or the database is in a container.
    """
    if not (fresh or stack.servers):
        prepared.migrate(stack.root, "mock" if stack.mock else "emulated")
    started = stack.devenv("up", "--detach", "--json", **variables)
    assert started.returncode == 0, started.stderr
    assert stack.api.get("workflows/").is_success  # made before threads ask for it


def stop(stack: Stack) -> None:
    """Stop everything; keep the logs where CI collects them."""
    stack.api.close()
    assert stack.devenv("down").returncode == 0
    kept = ROOT / "test-artifacts" / "logs" / re.sub(r"\W+", "-", stack.root.name)
    shutil.copytree(stack.root / ".devenv" / "logs", kept, dirs_exist_ok=True)
