"""Document problems: what an engine reports before it becomes a finding."""

from collections.abc import Iterable
from dataclasses import dataclass

# As many as a step may have findings. A list needs about 100 MB, and as much on disk.
MAX_PROBLEMS = 100_000
MAX_MESSAGE = 1000
MAX_PATH = 1000


def storable(text: str, limit: int) -> str:
    """Shorten `text` and replace what PostgreSQL cannot keep: NUL and lone surrogates."""
    text = text[: limit + 1].encode("utf-8", "replace").decode().replace("\0", "�")
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """A problem of a document. `path` is its place; `line` and `column` count from 1."""

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
    """The document cannot be read; `problem` has the reason."""

    def __init__(self, problem: DocumentProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def listed(
    problems: Iterable[DocumentProblem], *, total: int, exact: bool = True
) -> tuple[DocumentProblem, ...]:
    """Return the first problems, and a note with the total if there are more.

    Without `exact` the total is a lower bound.
    """
    kept = tuple(problems)[:MAX_PROBLEMS]
    if total <= len(kept) and exact:
        return kept
    number = f"{total:,}" if exact else f"at least {total:,}"
    note = f"The document has {number} problems; the first {len(kept):,} are listed."
    return (*kept, DocumentProblem(note, severity="INFO", code="problems.truncated"))
