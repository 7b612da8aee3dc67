"""What engines have to say about a document."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

MAX_PROBLEMS = 100
MAX_MESSAGE = 1000
MAX_PATH = 1000


def storable(text: str, limit: int) -> str:
    """Shorten `text` and replace what PostgreSQL cannot keep: NUL and lone surrogates."""
    text = text[: limit + 1].encode("utf-8", "replace").decode().replace("\0", "�")
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `path` is where in the document; `line` and `column` count from 1."""

    message: str
    severity: str = "ERROR"
    code: str = ""
    path: str = ""
    line: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", storable(self.message, MAX_MESSAGE))
        object.__setattr__(self, "path", storable(self.path, MAX_PATH))


class BadDocument(Exception):
    """The document cannot be read at all; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def truncated(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Keep the first MAX_PROBLEMS, and say so when there are more."""
    iterator = iter(problems)
    kept = tuple(islice(iterator, MAX_PROBLEMS))
    if next(iterator, None) is None:
        return kept
    note = f"There are more problems than the {MAX_PROBLEMS} shown."
    return (*kept, Problem(note, severity="INFO", code="problems.truncated"))
