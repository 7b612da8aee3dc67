"""What engines have to say about a document."""

from dataclasses import dataclass, field

MAX_MESSAGE = 1000
MAX_PATH = 1000


def storable(text: str, limit: int) -> str:
    """Shorten `text` and replace what PostgreSQL cannot keep: NUL and lone surrogates."""
    text = text.encode("utf-8", "replace").decode().replace("\0", "�")
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


@dataclass
class BadDocument(Exception):
    """The document cannot be read at all, and why."""

    problem: Problem = field()

    def __str__(self) -> str:
        return self.problem.message
