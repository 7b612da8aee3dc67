"""The console as a service of a running stack: its link, its commands, a snapshot."""

import re
import smtplib
from collections.abc import Iterator

import httpx
import pytest

from tests.cli.project import CliProject, make
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("devenv")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliProject]:
    project = make(tmp_path_factory.mktemp("console") / "project", whole=True)
    done = project.devenv("up", "--detach")
    assert done.returncode == 0, done.stderr
    yield project
    project.devenv("down")


@pytest.fixture
def visitor(up: CliProject) -> Iterator[httpx.Client]:
    """Return a browser that opened the printed link."""
    link = up.status()["urls"]["console"]
    origin = link.partition("/?token=")[0]
    with httpx.Client(base_url=origin, follow_redirects=True, trust_env=False) as client:
        assert client.get(link).status_code == 200
        yield client


def _act(visitor: httpx.Client, path: str, **data: str) -> str:
    csrf = re.search(r'name="csrf" value="(\w+)"', visitor.get("/snapshots").text)
    assert csrf
    answer = visitor.post(path, data={"csrf": csrf[1], **data})
    return answer.text


def test_service_is_stopped_and_started_from_the_console(
    visitor: httpx.Client, up: CliProject
) -> None:
    assert "mail stopped." in _act(visitor, "/services/mail/stop")
    assert up.status()["services"]["mail"]["state"] == "stopped"
    assert "The mail catcher does not answer" in visitor.get("/mail").text
    assert "mail is stopped already" in _act(visitor, "/services/mail/stop")
    assert "mail started." in _act(visitor, "/services/mail/start")
    assert up.status()["services"]["mail"]["state"] == "healthy"


def test_caught_mails_are_listed(visitor: httpx.Client, up: CliProject) -> None:
    port = int(up.status()["urls"]["smtp"].rpartition(":")[2])
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        smtp.sendmail("a@b.c", ["x@y.z"], "Subject: <hello>\n\nYou")

    assert "&lt;hello&gt;" in visitor.get("/mail").text


def test_log_of_a_service_is_streamed(visitor: httpx.Client) -> None:
    assert "did setup_all" in visitor.get("/services/setup").text
    with visitor.stream("GET", "/services/setup/stream?at=0") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = next(line for line in answer.iter_lines() if line.startswith("data:"))

    assert "did setup_all" in found


def test_pages_of_the_cloud_are_left_out_without_one(visitor: httpx.Client) -> None:
    page = visitor.get("/").text

    assert 'href="/mail"' in page
    assert 'href="/tasks"' not in page


def test_snapshot_is_saved_and_deleted_from_the_console(visitor: httpx.Client) -> None:
    assert "this page comes back" in _act(visitor, "/snapshots/save", name="tuesday")
    until(lambda: "Saved tuesday" in visitor.get("/snapshots").text, forgive=(httpx.HTTPError,))

    assert "tuesday deleted." in _act(visitor, "/snapshots/delete", name="tuesday")
    assert "There is no snapshot" in _act(visitor, "/snapshots/load", name="../..")
