"""Rules about files that no linter has."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
_DOCSTRING = re.compile(r'(?:#.*\n|\s)*[rR]?"""\s*\S')


def _tracked(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    paths = [ROOT / name for name in listed]
    return [path for path in paths if path.is_file() and path.name.endswith(suffixes or ("",))]


def _python() -> list[Path]:
    return [path for path in _tracked(".py") if "migrations" not in path.parts]


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    text = path.read_text()
    if text.count("\n") <= MAX_FUNCTION_LINES:
        return []
    return [node for node in _statements(ast.parse(text)) if isinstance(node, _FUNCTION)]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements in a node at any depth, without a look at their expressions."""
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        inner = getattr(node, field, ())
        for each in inner if isinstance(inner, list) else ():
            yield each
            yield from _statements(each)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno
    return function.end_lineno - function.lineno + 1


_OF_THE_PROCESS = re.compile(
    r"""setattr\(\s*["']?(time|uuid|random|asyncio|threading|datetime)(\.|,\s*["'])"""
)


def test_no_test_replaces_a_clock_or_ids_of_the_whole_process() -> None:
    """The emulated cloud of other tests runs on in the same process: replace the module's name.

    An event loop that sees `time.monotonic` go back waits for hours.
    """
    found = {
        f"{path}: {match[0]}"
        for path in _python()
        if ROOT / "tests" in path.parents and path != Path(__file__)
        for match in _OF_THE_PROCESS.finditer(path.read_text())
    }

    assert found == set()


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    long = {str(p): n for p in _python() if (n := len(p.read_text().splitlines())) > MAX_FILE_LINES}

    assert long == {}


def test_no_function_is_longer_than_fifty_lines() -> None:
    long = [
        f"{path}:{function.lineno} {function.name}"
        for path in _python()
        for function in _functions(path)
        if _length(function) > MAX_FUNCTION_LINES
    ]

    assert long == []


def test_no_committed_file_names_a_package_registry() -> None:
    parts = (("pyp", r"i\.org"), ("python", r"hosted\.org"), ("registry", r"\.npmjs"))
    hosts = re.compile("|".join(a + b for a, b in parts))

    assert [str(p) for p in _tracked() if _text_matches(p, hosts)] == []


def test_no_committed_file_contains_a_home_folder() -> None:
    homes = re.compile("|".join("/" + a + "/" for a in ("root", "home/[a-z]+", "Users/[A-Za-z]+")))

    assert [str(p) for p in _tracked() if _text_matches(p, homes)] == []


def _text_matches(path: Path, pattern: re.Pattern[str]) -> bool:
    try:
        return bool(pattern.search(path.read_text()))
    except UnicodeDecodeError:
        return False


def test_devenv_names_neither_product_nor_framework() -> None:
    """It starts any stack: what is special about ours stands in devenv.toml."""
    names = "validibot|django|/internal/|orgs/|callback_nonce|idempotent_replayed|submission"
    ours = re.compile(names, re.IGNORECASE)
    files = [path for path in _tracked() if path.is_relative_to(ROOT / "devenv")]

    assert [str(path) for path in files if _text_matches(path, ours)] == []


def test_product_code_does_not_ask_for_an_emulator() -> None:
    """Neither a name nor a text in its code mentions one; docstrings and comments may."""
    asked = re.compile(r"emulator|localhost", re.IGNORECASE)
    found = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in (ROOT / "validibot").rglob("*.py")
        if asked.search(text := path.read_text())
        for word in _code_words(ast.parse(text))
        if asked.search(word)
    }

    assert found == set()


def test_messages_about_input_shorten_it_with_echo() -> None:
    """A `!r` of a caller's text repeats all of it; in square brackets it is the part of a path."""
    folders = ("engines", "submissions", "workflows", "api")
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in folders
        for path in (ROOT / "validibot" / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr) and _repeats_raw(node)
    }

    assert found == set()


def _repeats_raw(text: ast.JoinedStr) -> bool:
    before = ""
    for part in text.values:
        is_repr = isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
        if is_repr and not before.endswith("["):
            return True
        before = str(part.value) if isinstance(part, ast.Constant) else ""
    return False


def _code_words(tree: ast.Module) -> Iterator[str]:
    """Yield the names and texts of a module, without its docstrings."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def test_locks_pin_every_package_by_hash_without_urls() -> None:
    folders = ("requirements/*.txt", "validators/*/requirements.txt", "compose/*/requirements.txt")
    locks = [path for folder in folders for path in ROOT.glob(folder)]
    for lock in locks:
        text = lock.read_text()
        pinned = re.findall(r"^[a-z0-9].*==.* \\$", text, re.MULTILINE)

        assert len(pinned) > 20
        assert "://" not in text
        assert all("--hash=" in block for block in re.split(r"\n(?=[a-z0-9])", text))


def _declared(lock: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared: list[str] = project["project"]["dependencies"]
    if lock != "product":
        declared = declared + project["project"]["optional-dependencies"]["devenv"]
        for wants in ROOT.glob("validators/*/requirements.in"):
            declared += [line for line in wants.read_text().splitlines() if line[:2] != "-r"]
    if lock == "dev":
        declared = declared + project["dependency-groups"]["dev"]
    return declared


@pytest.mark.parametrize("lock", ["product", "runtime", "dev"])
def test_lock_contains_every_declared_dependency(lock: str) -> None:
    names = {re.split(r"[\[<>=; ]", entry)[0].lower() for entry in _declared(lock)}
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9.-]+)==", text, re.MULTILINE))

    assert names - locked == set()


def test_images_get_the_tested_versions() -> None:
    pin = re.compile(r"^([a-z0-9.-]+)==([^ ]+)", re.MULTILINE)
    tested = dict(pin.findall((ROOT / "requirements/runtime.txt").read_text()))
    locks = (
        ROOT / "requirements/product.txt",
        ROOT / "compose/local/requirements.txt",
        *ROOT.glob("validators/*/requirements.txt"),
    )
    other = [
        pair
        for lock in locks
        for pair in pin.findall(lock.read_text())
        if tested.get(pair[0]) != pair[1]
    ]

    assert other == []
    # An extra has packages of its own; those that it shares with the rest are the tested ones.
    # boto3 needs an older package than the rest has: the tests run with it, from the lock of development.
    for name, lock in (("modal", "runtime"), ("ses", "dev")):
        tested = dict(pin.findall((ROOT / f"requirements/{lock}.txt").read_text()))
        extra = pin.findall((ROOT / f"requirements/{name}.txt").read_text())
        assert [pair for pair in extra if tested.get(*pair) != pair[1]] == [], name


def test_every_module_has_a_docstring() -> None:
    silent = [str(path) for path in _python() if not _DOCSTRING.match(path.read_text())]

    assert silent == []
