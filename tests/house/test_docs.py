"""Comparison of the pages with the code."""

import datetime as dt
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import Resolver404, resolve

from devenv.gcp.config import CloudConfig, parse
from devenv.gcp.intercept.endpoints import environ
from validibot.runs import notices, states

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
TOP = "config|devenv|docs|requirements|tests|validators|validibot"
CLOUD_VARIABLES = environ(project="", proxy="", bundle=ROOT, metadata="", gcloud=ROOT)
UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "s": 1, "h": 3600}

type Table = dict[str, list[str]]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _quoted(text: str) -> list[str]:
    """Return the texts in backticks outside code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def _tables(page: Path) -> Iterator[Table]:
    """Yield the tables of a page as columns by their headings."""
    for block in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE):
        head, _, *rows = [_cells(line) for line in block.splitlines()]
        yield {title: [row[index] for row in rows] for index, title in enumerate(head)}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _table(page: str, heading: str) -> Table:
    (found,) = [table for table in _tables(DOCS / page) if next(iter(table)) == heading]
    return found


def _column(page: str, *, table: str, column: str) -> set[str]:
    return {name for cell in _table(page, table)[column] for name in _quoted(cell)}


@each_page
def test_paths_named_by_a_page_exist(page: Path) -> None:
    paths = [name for name in _quoted(page.read_text()) if re.match(rf"({TOP})/[\w./*-]*$", name)]

    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


@each_page
def test_modules_named_by_a_page_exist(page: Path) -> None:
    named = {name for name in _quoted(page.read_text()) if re.match(rf"({TOP})(\.\w+)+$", name)}

    assert [
        name for name in named - {"devenv.toml", "devenv.local.toml"} if not _exists(name)
    ] == []


def _exists(name: str) -> bool:
    """Return whether `name` is a module, or is defined in one."""
    parent, _, last = name.rpartition(".")
    if find_spec(parent) is None:
        return False
    spec = find_spec(parent)
    is_package = spec is not None and spec.submodule_search_locations is not None
    if is_package and find_spec(name) is not None:
        return True
    return hasattr(import_module(parent), last)


@each_page
def test_commands_named_by_a_page_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = {path.stem for path in (ROOT / "validibot").rglob("management/commands/[a-z]*.py")}
    djangos = {"check", "collectstatic", "createsuperuser", "migrate", "runserver", "shell", "test"}

    assert set(re.findall(r"`(?:\w+=\S+ )?make ([a-z-]+)", text)) <= targets
    assert set(re.findall(r"manage\.py (\w+)", text)) <= commands | djangos


@each_page
def test_settings_and_variables_named_by_a_page_exist(page: Path) -> None:
    text = page.read_text()
    quoted = " ".join(_quoted(text))
    named = re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w.])", quoted)

    words = _capital_words() | set(re.findall(r"\[secrets\.(\w+)\]", text))  # of its example
    assert [name for name in named if not any(word.startswith(name) for word in words)] == []


@cache
def _capital_words() -> frozenset[str]:
    """Return the words of the code that may be a setting or a variable."""
    texts = [*CLOUD_VARIABLES, *(path.read_text() for path in _sources())]
    return frozenset(word for text in texts for word in re.findall(r"\b[A-Z][A-Z0-9]*_\w+", text))


def _sources() -> Iterator[Path]:
    yield ROOT / "Makefile"
    yield ROOT / "Procfile"
    yield ROOT / "action" / "action.yml"
    yield ROOT / "docker-compose.local.yml"
    for folder in ("compose", "config", "deploy", "devenv", "validators", "validibot"):
        for suffix in ("py", "sh"):
            yield from (ROOT / folder).rglob(f"*.{suffix}")


@each_page
def test_links_of_a_page_resolve(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text())

    assert [link for link in links if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists() or not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_page_is_reachable_from_the_readme() -> None:
    found, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        links = re.findall(r"\]\((?!https?:)([^)#]+\.md)", page.read_text())
        targets = {(page.parent / link).resolve() for link in links}
        waiting += [target for target in targets - found if target.exists()]

    assert set(PAGES) - found == set()


@pytest.mark.parametrize("package", ["validibot", "validibot.runs", "devenv", "devenv.gcp"])
def test_architecture_page_has_the_layers(package: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [
        contract["layers"]
        for contract in contracts["contracts"]
        if contract.get("containers") == [package]
    ]
    page = (DOCS / "architecture.md").read_text()
    block = re.search(
        rf"^Inside `{re.escape(package)}`.*?```\n(.*?)\n```", page, re.DOTALL | re.MULTILINE
    )

    assert block
    assert block[1].split("\n") == layers


def test_architecture_page_lists_every_recorded_event() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "validibot/runs").rglob("*.py"))
    plain = re.findall(
        r'kind="(\w+)"|record_attempt\([^"]*"(\w+)"|kind = "(\w+)" if [\w.]+ else "(\w+)"', source
    )
    written = {kind for kinds in plain for kind in kinds if kind}
    steps = {f"step_{status.lower()}" for status in states.terminal(states.STEP)}

    described = _column("architecture.md", table="event", column="event")

    assert described == written | steps | set(notices.EVENT_OF_RESULT.values())
    assert _column("architecture.md", table="#", column="events") <= described


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("run", states.RUN),
        ("step", states.STEP),
        ("attempt", states.ATTEMPT),
        ("receipt", states.RECEIPT),
    ],
)
def test_architecture_page_has_the_state_tables(name: str, table: states.Table) -> None:
    rows = _table("architecture.md", name)
    described = {
        _quoted(state)[0]: set(_quoted(following))
        for state, following in zip(rows[name], rows["may become"], strict=True)
    }

    assert described == {state: set(following) for state, following in table.items() if following}


def test_architecture_page_has_the_limits() -> None:
    rows = _table("architecture.md", "limit")
    for said, place in zip(rows["value"], rows["where"], strict=True):
        number, _, unit = said.partition(" ")

        assert _value(_quoted(place)[0]) == int(number) * UNITS[unit], place


def _value(name: str) -> Any:
    module, _, constant = name.rpartition(".")
    value = getattr(settings if module == "settings" else import_module(module), constant)
    return value.total_seconds() if isinstance(value, dt.timedelta) else value


def test_architecture_page_has_the_roles_of_accounts() -> None:
    cloud: CloudConfig = parse(tomllib.loads((ROOT / "devenv.toml").read_text())["gcp"])
    rows = _table("architecture.md", "account")
    described = {
        _quoted(account)[0]: set(_quoted(roles))
        for account, roles in zip(rows["account"], rows["roles"], strict=True)
    }

    assert described == {
        account: {binding.role for binding in cloud.bindings if binding.member == account}
        for account in cloud.accounts
    }


def test_architecture_page_has_the_endpoints_of_each_service() -> None:
    rows = _table("architecture.md", "endpoint")
    for doors, role in zip(rows["endpoint"], rows["service"], strict=True):
        for door in (name for name in _quoted(doors) if "…" not in name):
            serving = {each for each in ("web", "worker") if _serves(each, door)}

            assert serving == ({"web", "worker"} if role == "both" else {role}), door


def _serves(role: str, path: str) -> bool:
    try:
        resolve(path, urlconf=f"config.urls_{role}")
    except Resolver404:
        return False
    return True


def test_each_row_of_the_fidelity_page_has_status_and_tests() -> None:
    ledger = [table for table in _tables(DOCS / "fidelity.md") if "behaviour" in table]

    assert len(ledger) >= 9
    for table in ledger:
        assert set(table["status"]) <= {"documented", "observed", "our own rule"}
        for behaviour, cell in zip(table["behaviour"], table["shown by"], strict=True):
            files = _quoted(cell)
            assert files, behaviour
            assert all((ROOT / file).is_file() for file in files), behaviour


def test_development_page_lists_the_variables_of_the_cloud() -> None:
    assert _column("library.md", table="variable", column="variable") == set(CLOUD_VARIABLES)


def test_validators_page_has_every_code_of_document_problems() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "validibot/engines").glob("*.py"))
    codes = re.findall(r"""code="((?:document|json|xml|assertion|problems)\.\w+)\"""", source)

    assert set(codes) - set(_quoted((DOCS / "validators.md").read_text())) == set()


def test_validators_page_lists_the_variables_of_validators() -> None:
    source = (ROOT / "validators/sdk/environment.py").read_text()
    described = _column("validators.md", table="variable", column="variable")

    assert described == set(
        re.findall(
            r'"((?:VALIDIBOT|VALIDATOR|TASK|WORKER|DEPLOYMENT|SENTRY)_\w+|TRACEPARENT)"', source
        )
    )
