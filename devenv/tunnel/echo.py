"""How a preflight proves that a public URL ends at this very gate: a question in a file.

Whoever may write below the state folder puts the answer to a random nonce there; the gate answers
the nonce once. To everybody else the path is not there, like any other.
"""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

PATH = "/devenv-tunnel/"
_NONCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Question:
    nonce: str
    answer: str

    @property
    def path(self) -> str:
        return PATH + self.nonce


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
        nonce = target.removeprefix(PATH)
        if not target.startswith(PATH) or not _NONCE.fullmatch(nonce):
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
