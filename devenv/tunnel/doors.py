"""The paths that the gate answers, and who may call them. All other paths do not exist.

The echo proves that a public URL ends at this very gate: a process that may write below the state
folder puts the answer to a random nonce there, and the gate answers that nonce once.
"""

import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from devenv.tunnel.config import TunnelConfig, TunnelPath


@dataclass(frozen=True, slots=True)
class Door:
    """A path of the target. With `keep`, bodies are saved by this member of their JSON."""

    callers: Collection[str]
    keep: str = ""


def doors(config: TunnelConfig, paths: Collection[TunnelPath]) -> Mapping[str, Door]:
    """Return the doors by their exact path."""
    accounts = {
        "tasks_account": (config.tasks_account,),
        "scheduler_account": (config.scheduler_account,),
        "job_accounts": config.job_accounts,
    }
    return {one.path: Door(accounts[one.callers], one.keep) for one in paths}


# Headers that are forwarded to the worker; none that a proxy in between may act on.
_PASSED = ("authorization", "content-type", "traceparent", "user-agent", "x-cloud-trace-context")
_FAMILIES = ("x-cloudtasks-", "x-cloudscheduler")


def passed(fields: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that are forwarded to the worker."""
    return [pair for pair in fields if pair[0] in _PASSED or pair[0].startswith(_FAMILIES)]


ECHO_PATH = "/devenv-tunnel/"
_NONCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Question:
    """Nonce in the path of a request, and the answer that only this gate knows."""

    nonce: str
    answer: str

    @property
    def path(self) -> str:
        return ECHO_PATH + self.nonce


class Echo:
    """Questions and answers in `folder`, each good for one time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self) -> Question:
        question = Question(secrets.token_hex(16), secrets.token_hex(16))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / question.nonce).write_text(question.answer)
        return question

    def answer(self, target: str) -> str:
        """Return the answer to the question in a path, or nothing where nobody asked."""
        nonce = target.removeprefix(ECHO_PATH)
        if not target.startswith(ECHO_PATH) or not _NONCE.fullmatch(nonce):
            return ""
        file = self._folder / nonce
        try:
            text = file.read_text()
            file.unlink()
        except OSError:
            return ""
        return text

    def forget(self) -> None:
        """Drop the questions that nobody answered."""
        for file in self._folder.glob("*"):
            file.unlink(missing_ok=True)
