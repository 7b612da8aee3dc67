"""Flows of the inner loop: edits of a running stack's code, with requests in flight."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cli.project import CliProject, make
from tests.waiting import LIMIT, until

pytestmark = pytest.mark.xdist_group("devenv")

_ASGI = """
import asyncio
from pathlib import Path
from validibot.answer import ANSWER
async def application(scope, receive, send):
    if scope["path"] == "/slow":
        Path("slow-web").touch()
        await asyncio.sleep(4)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": ANSWER.encode()})
"""
_WSGI = """
import time
from pathlib import Path
from validibot.answer import ANSWER
def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        Path("slow-worker").touch()
        time.sleep(4)
    start_response("200 OK", [])
    return [ANSWER.encode()]
"""


@pytest.fixture(scope="module")
def unstarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliProject]:
    project = make(tmp_path_factory.mktemp("reload") / "project")
    (project.root / "config" / "asgi.py").write_text(_ASGI)
    (project.root / "config" / "wsgi.py").write_text(_WSGI)
    migrations = project.root / "validibot" / "shop" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "0001_initial.py").touch()
    (project.root / "validibot" / "__init__.py").touch()
    answer(project, "first")
    yield project
    project.devenv("down")


@pytest.fixture
def project(unstarted: CliProject) -> CliProject:
    """The stack of this module, whose web answers "first"."""
    answer(unstarted, "first")
    assert unstarted.devenv("up", "--detach").returncode == 0
    ReloadClient(unstarted, "web").until("first")
    ReloadClient(unstarted, "worker").until("first")
    return unstarted


def answer(project: CliProject, text: str) -> None:
    write(project, f"ANSWER = {text!r}\n")


def write(project: CliProject, code: str) -> None:
    (project.root / "validibot" / "answer.py").write_text(code)


class ReloadClient:
    """Asks web or worker, each time by a new connection."""

    def __init__(self, project: CliProject, service: str) -> None:
        self.port = int(project.status()["urls"][service].rpartition(":")[2])

    def get(self, path: str = "/") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def until(self, text: str) -> None:
        until(lambda: self.get() == text, forgive=ConnectionError)  # see `_ask`


def _ask(enough: threading.Event, client: ReloadClient, seen: Counter[str]) -> None:
    while not enough.is_set():
        try:
            seen[client.get()] += 1
        except ConnectionResetError:
            # The kernel resets connections that the old listener has not accepted when it closes.
            # No request was read from them: clients repeat it.
            continue
        except OSError as error:
            seen[repr(error)] += 1
        time.sleep(0.02)  # as fast as it goes would take both processors


def _ask_slowly(client: ReloadClient, seen: Counter[str]) -> None:
    seen[f"slow {client.get('/slow')}"] += 1


def test_edit_reloads_without_failing_a_request(project: CliProject) -> None:
    clients = [ReloadClient(project, service) for service in ("web", "worker")]
    seen: tuple[Counter[str], ...] = (Counter(), Counter())
    enough = threading.Event()
    pairs = list(zip(clients, seen, strict=True))
    askers = [threading.Thread(target=_ask, args=(enough, *pair)) for pair in pairs * 2]
    slow = [threading.Thread(target=_ask_slowly, args=pair) for pair in pairs]
    for thread in (*askers, *slow):
        thread.start()
    until(lambda: len(list(project.root.glob("slow-*"))) == 2)
    answer(project, "second")
    until(lambda: all(each["second"] > 0 for each in seen))
    for thread in slow:
        thread.join()
    enough.set()
    for thread in askers:
        thread.join()

    assert [set(each) for each in seen] == [{"first", "second", "slow first"}] * 2


def test_broken_code_is_shown_and_next_edit_recovers(project: CliProject) -> None:
    client = ReloadClient(project, "web")

    def note() -> str:
        return str(project.status()["services"]["web"]["note"])

    write(project, "\nANSWER = (\n")
    until(lambda: "SyntaxError" in note())
    unparsable = note()
    write(project, "import nothing_like_it\n")
    until(lambda: "ModuleNotFoundError" in note())
    failing = note()
    until(lambda: f"web       {failing}" in _streamed(project))
    log = project.devenv("logs", "--no-follow", "-n", "200", "web").stdout
    still = client.get()
    answer(project, "second")
    client.until("second")

    assert unparsable == "not reloaded: validibot/answer.py:2 SyntaxError: '(' was never closed"
    assert failing == (
        "not reloaded: validibot/answer.py:1 ModuleNotFoundError: No module named 'nothing_like_it'"
    )
    assert still == "first"
    for text in (unparsable, failing):
        assert text.removeprefix("not reloaded: ").partition(" ")[2] in log
        assert f"web       {text}" in _streamed(project)
    until(lambda: not note())


def test_new_migration_is_applied_before_new_code_serves(project: CliProject) -> None:
    client = ReloadClient(project, "web")
    broken = project.root / "broken"
    before = _migrations(project)

    broken.touch()
    (project.root / "validibot" / "shop" / "migrations" / "0002_price.py").touch()
    until(lambda: "migrate: exited with 1" in project.status()["services"]["web"]["note"])
    until(lambda: "migrate   failed: exited with 1" in _streamed(project))
    broken.unlink()
    answer(project, "second")
    client.until("second")

    added = ["did migrate", "the table is on fire", "did migrate"]
    assert _migrations(project) == before + added


def _streamed(project: CliProject) -> str:
    return (project.root / ".devenv" / "up.log").read_text()


def _migrations(project: CliProject) -> list[str]:
    return project.devenv("logs", "--no-follow", "migrate").stdout.splitlines()


def test_watch_0_turns_reload_off(unstarted: CliProject) -> None:
    project = unstarted
    project.devenv("down")
    answer(project, "first")
    assert project.devenv("up", "--detach", WATCH="0").returncode == 0
    client = ReloadClient(project, "web")
    pid = project.status()["services"]["web"]["pid"]

    answer(project, "second")
    time.sleep(1.5)

    served = client.get(), project.status()["services"]["web"]["pid"]
    project.devenv("down")  # for the next test, in whatever order

    assert served == ("first", pid)
