"""Checks of the language of names, docstrings and pages.

`python -m tests.house.language [PATH]` prints each place that breaks a rule, and a table of how
many are left per package. `docs/development.md` has the rules and the glossary.
"""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_WORDS_OF_A_TEST = 12

# Such a sentence reads better with its subject first: "The token decides …".
_CLAUSE = re.compile(r"(?:What|Who|Whose|Whom|Whoever|Whatever|Whichever|Nobody)\b")
_CLAUSE_ANYWHERE = re.compile(rf"\b{_CLAUSE.pattern}")
_COMMENT_CLAUSE = re.compile(rf"\s*# {_CLAUSE.pattern}")
_TEST_CLAUSE = re.compile(r"test_(?:what|who|whose|whom|whoever|whatever|whichever)_")
# Names for which the field has a word; the glossary has the right one.
_BANNED = re.compile(
    "bury|buried|deaf|epitaphs?|graves?|hearing|heart|imagined?|obituary|overtaken|patience|"
    "patient|strangers?"
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_SHARED_CLASS_NAMES = frozenset({"Command", "Config", "Media", "Meta", "Migration", "Params"})


@dataclass(frozen=True, slots=True)
class Place:
    """One place that breaks a rule."""

    path: Path
    line: int
    rule: str
    text: str

    @property
    def package(self) -> str:
        """Return the folders that one engineer converts at once: `validibot/runs`, `tests/flows`."""
        parts = self.path.relative_to(ROOT).parts
        depth = 4 if parts[:2] == ("tests", "unit") else 2
        return "/".join(parts[:-1][:depth]) or parts[0]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.rule}: {self.text}"


def check() -> list[Place]:
    """Return every place in the committed files that breaks a rule."""
    python = [path for path in _tracked(".py") if "migrations" not in path.parts]
    trees = {path: ast.parse(path.read_text()) for path in python}
    found = [place for path, tree in trees.items() for place in _check_module(path, tree)]
    found += [place for path in python for place in _check_comments(path)]
    found += _check_class_names(trees)
    for page in _tracked(".md"):
        found += _check_page(page)
    return sorted(found, key=lambda place: (place.path, place.line))


def _tracked(suffix: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.splitlines() if name.endswith(suffix)]
    return [path for path in paths if path.is_file()]


def _check_module(path: Path, tree: ast.Module) -> Iterator[Place]:
    if _TEST_CLAUSE.match(path.name):
        yield Place(path, 1, "test name is a clause", path.name)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            line = getattr(node, "lineno", 1)
            for sentence in _clauses(ast.get_docstring(node) or ""):
                yield Place(path, line, "sentence begins with a clause", sentence)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _check_test_name(path, node)
        for name in _names(node):
            if _is_banned(name):
                line = getattr(node, "lineno", 1)
                yield Place(path, line, "name outside the glossary", name)


def _check_comments(path: Path) -> Iterator[Place]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if _COMMENT_CLAUSE.match(line):
            yield Place(path, number, "comment begins with a clause", line.strip())


def _check_test_name(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Place]:
    if not node.name.startswith("test_"):
        return
    if _TEST_CLAUSE.match(node.name):
        yield Place(path, node.lineno, "test name is a clause", node.name)
    if "nobody" in node.name:
        yield Place(path, node.lineno, "test name has nobody as its subject or object", node.name)
    if node.name.count("_") > MAX_WORDS_OF_A_TEST:
        yield Place(path, node.lineno, "test name is too long", node.name)


def _clauses(text: str) -> Iterator[str]:
    """Yield the sentences of a docstring or page that begin with a clause; questions are none."""
    if not _CLAUSE_ANYWHERE.search(text):
        return
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.:!?;])\s+", " ".join(paragraph.split())):
            if _CLAUSE.match(sentence) and not sentence.endswith("?"):
                yield sentence


def _names(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    return []


@cache
def _is_banned(name: str) -> bool:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return any(_BANNED.fullmatch(word) for word in snake.split("_"))


def _check_class_names(trees: dict[Path, ast.Module]) -> Iterator[Place]:
    """Yield each public class outside the tests whose name another one has, too."""
    defined = defaultdict[str, list[Place]](list)
    for path, tree in trees.items():
        if path.is_relative_to(ROOT / "tests"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name not in _SHARED_CLASS_NAMES:
                place = Place(path, node.lineno, "class name is taken", node.name)
                defined[node.name].append(place)
    for name, places in defined.items():
        if len(places) > 1 and not name.startswith("_"):
            yield from places


def _check_page(path: Path) -> Iterator[Place]:
    text = re.sub(
        r"```.*?```", lambda block: "\n" * block[0].count("\n"), path.read_text(), flags=re.DOTALL
    )
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"#+ (?:What|Who|Whose|How|Why|Where|When)\b", line):
            yield Place(path, number, "heading is no noun phrase", line)
        elif re.match(r"\||\s*$", line):
            continue
        else:
            for sentence in _clauses(re.sub(r"^\s*(?:[-*#>]+|\d+\.)\s+", "", line)):
                yield Place(path, number, "sentence begins with a clause", sentence)


def main(under: str = "") -> None:
    """Print the places below a folder, then the number of places per package."""
    places = [place for place in check() if place.path.is_relative_to(ROOT / under)]
    counts = sorted(Counter(place.package for place in places).items())
    lines = [*map(str, places), *(f"{count:5} {package}" for package, count in counts)]
    sys.stdout.write("\n".join([*lines, f"{len(places):5} in all", ""]))


if __name__ == "__main__":
    main(*sys.argv[1:2])
