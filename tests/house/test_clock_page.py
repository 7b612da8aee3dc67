"""Comparison of the clock's page with the code: who asks the machine's clock, and what shows it."""

import ast
from pathlib import Path

from tests.house.test_docs import DOCS, ROOT, _column, _quoted, _table

CLOCKS = {"cloud", "machine", "program"}
# Calls that ask the machine for the time, or wait on it. `asyncio.sleep(0)` only gives way.
MACHINE = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.sleep"),
    *("time.perf_counter", "perf_counter", "dt.datetime.now", "dt.date.today"),
    *("asyncio.timeout", "asyncio.timeout_at", "asyncio.wait_for", "asyncio.sleep"),
}
METHODS = {"machine", "machine_sleep", "call_later", "call_at"}


def test_clock_page_names_the_modules_that_ask_the_machine() -> None:
    asking = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (DOCS.parent / "devenv/gcp").rglob("*.py")
        if _asks_the_machine(path)
    }

    assert _column("clock.md", table="module", column="module") == asking


def test_each_behaviour_of_the_clock_page_has_a_clock_and_tests() -> None:
    table = _table("clock.md", "behaviour")

    assert set(table["clock"]) == CLOCKS
    files = [_quoted(cell) for cell in table["shown by"]]
    assert all(files)
    assert [name for names in files for name in names if not (ROOT / name).is_file()] == []


def _asks_the_machine(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    return any(_is_of_machine(node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _is_of_machine(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    if name in MACHINE:
        gives_way = name == "asyncio.sleep" and ast.unparse(call.args[0]) == "0"
        return not gives_way
    if name == "asyncio.wait":
        return any(each.arg == "timeout" for each in call.keywords)
    return isinstance(call.func, ast.Attribute) and call.func.attr in METHODS
