"""Flows of the real command line, from `up` to `reset`, with a stand-in product."""

import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from devenv.config import load
from devenv.stack.statefile import read
from tests.cli.project import CliProject, make
from tests.waiting import LIMIT, slowdown, until

pytestmark = pytest.mark.xdist_group("devenv")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliProject]:
    project = make(tmp_path_factory.mktemp("devenv") / "a folder with spaces", whole=True)
    started = project.devenv("up", "--detach", "--json")
    assert started.returncode == 0, started.stderr
    yield project
    assert project.devenv("down").returncode == 0


def get(url: str) -> str:
    return httpx.get(url).text


def test_status_has_urls_login_and_services(up: CliProject) -> None:
    facts = json.loads(up.devenv("status", "--json").stdout)

    assert facts == up.status()  # which other tests ask
    assert facts["mode"] == "mock"
    assert facts["login"]["email"] == "demo@validibot.local"
    assert facts["org"] == "demo"
    assert facts["workflows"] == [
        {"slug": "box", "name": "A box", "sample": str(up.root / "box.idf")}
    ]
    assert {one["state"] for one in facts["services"].values()} == {"healthy", "done"}


def test_web_and_worker_serve_in_their_roles(up: CliProject) -> None:
    urls = up.status()["urls"]

    assert (get(urls["web"]), get(urls["worker"])) == ("web", "worker")


def test_second_up_shows_running_stack(up: CliProject) -> None:
    again = up.devenv("up", NO_COLOR="1")

    assert again.returncode == 0
    assert "It already runs here" in again.stderr
    assert up.status()["urls"]["web"] in again.stdout


@pytest.mark.parametrize(
    ("option", "value", "runs"),
    [
        ("--mode", "local", "mock"),
        ("--jobs", "docker", "process"),
        ("--runtime", "docker", "process"),
    ],
)
def test_up_in_another_way_than_the_running_stack_is_refused(
    up: CliProject, option: str, value: str, runs: str
) -> None:
    again = up.devenv("up", option, value)

    assert (again.returncode, again.stdout) == (2, "")
    assert f"It already runs here with {option} {runs}.\n    Next: make down" in again.stderr


def test_run_has_environment_of_web_and_returns_exit_code(up: CliProject) -> None:
    done = up.devenv("run", "--", "sh", "-c", "echo $APP_ROLE $VALIDIBOT_API_URL; exit 7")

    assert (done.returncode, done.stdout) == (7, f"web {up.status()['urls']['web']}\n")


def test_env_can_be_pasted_into_shell(up: CliProject) -> None:
    pasted = up.devenv("env", "--role", "worker").stdout
    done = subprocess.run(
        ["sh", "-c", f"{pasted}\necho $APP_ROLE"], capture_output=True, text=True, check=True
    )

    assert done.stdout == "worker\n"


def test_psql_opens_the_database(up: CliProject) -> None:
    done = up.devenv("psql", "-tAc", "SELECT current_database()")

    assert done.stdout == "validibot\n", done.stderr


def test_shell_has_environment_of_service(up: CliProject) -> None:
    shell = up.root / "shell"
    shell.write_text("#!/bin/sh\necho $APP_ROLE\n")
    shell.chmod(0o755)

    done = up.devenv("shell", "--service", "worker", SHELL=str(shell))

    assert done.stdout == "worker\n", done.stderr


def test_open_prints_and_opens_the_page(up: CliProject) -> None:
    browser = up.root / "browser"
    browser.write_text('#!/bin/sh\necho "$1" >opened\n')
    browser.chmod(0o755)

    done = up.devenv("open", "mail", BROWSER=str(browser))
    unknown = up.devenv("open", "worker-page")

    assert done.stdout == f"{up.status()['urls']['mail']}\n", done.stderr
    assert (up.root / "opened").read_text() == done.stdout
    assert unknown.returncode == 2
    assert "'worker-page' has no page in this stack; there are web, worker, mail" in unknown.stderr


def test_identity_needs_the_emulated_cloud(up: CliProject) -> None:
    done = up.devenv("run", "--as", "web", "--", "true")

    assert done.returncode == 1
    assert "--as web needs the emulated cloud; the profile mock has none." in done.stderr


def test_logs_are_kept_by_service(up: CliProject) -> None:
    done = up.devenv("logs", "--no-follow", "setup")

    assert "did setup_all" in done.stdout.splitlines()


def test_log_of_silent_service_is_empty(up: CliProject) -> None:
    services = up.status()["services"]
    done = up.devenv("logs", "--no-follow", *services)

    assert done.returncode == 0, done.stderr


def test_unknown_log_is_refused_with_known_ones(up: CliProject) -> None:
    done = up.devenv("logs", "wbe")

    assert done.returncode == 2
    assert "no log of wbe" in done.stderr
    assert "console, mail, migrate" in done.stderr


def test_secrets_are_readable_by_their_owner_only(up: CliProject) -> None:
    assert (up.root / ".devenv" / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_state_folder_is_private(up: CliProject) -> None:
    assert up.status()["urls"]["mail"]
    assert (up.root / ".devenv").stat().st_mode & 0o066 == 0


def test_mail_arrives(up: CliProject) -> None:
    urls = up.status()["urls"]
    with smtplib.SMTP("127.0.0.1", int(urls["smtp"].rpartition(":")[2])) as smtp:
        smtp.sendmail("a@b.c", ["x@y.z"], "Subject: Hello\n\nYou")

    assert json.loads(get(f"{urls['mail']}/api/v1/message/latest"))["Subject"] == "Hello"


@pytest.mark.parametrize("service", ["worker", "web", "mail"])
def test_killed_service_restarts_on_same_port(up: CliProject, service: str) -> None:
    facts = up.status()
    pid = facts["services"][service]["pid"]

    os.kill(pid, signal.SIGKILL)
    up.until_restarted(service, not_pid=pid)

    assert get(facts["urls"][service])


def test_killed_postgres_loses_no_commit(up: CliProject) -> None:
    facts = up.status()
    pid = facts["services"]["postgres"]["pid"]
    with psycopg.connect(facts["urls"]["postgres"], autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")

        os.kill(pid, signal.SIGKILL)
    up.until_restarted("postgres", not_pid=pid)

    with psycopg.connect(facts["urls"]["postgres"]) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_stopped_service_is_shown_and_starts_again(up: CliProject) -> None:
    before = up.status()["services"]

    stopped = up.devenv("stop", "worker")
    during = up.status()["services"]["worker"]
    again = up.devenv("start", "--json", "worker")
    after = up.status()["services"]

    assert stopped.stderr == "  ✓ worker stopped.\n"
    assert (during["state"], during["pid"]) == ("stopped", None)
    assert json.loads(again.stdout)["state"] == "healthy"
    assert after["worker"]["pid"] not in (None, before["worker"]["pid"])
    assert after["web"]["pid"] == before["web"]["pid"]


def test_restarted_postgres_keeps_data_and_other_services(up: CliProject) -> None:
    facts = up.status()
    with psycopg.connect(facts["urls"]["postgres"], autocommit=True) as connection:
        connection.execute("CREATE TABLE restarted AS SELECT 1 AS answer")

    done = up.devenv("restart", "postgres")

    assert done.returncode == 0, done.stderr
    assert up.status()["services"]["web"]["pid"] == facts["services"]["web"]["pid"]
    with psycopg.connect(facts["urls"]["postgres"]) as connection:
        assert connection.execute("SELECT answer FROM restarted").fetchone() == (1,)


def test_command_to_unknown_service_names_the_known_ones(up: CliProject) -> None:
    done = up.devenv("restart", "wbe")

    assert done.returncode == 1
    assert "no service wbe" in done.stderr
    assert "postgres" in done.stderr


def test_down_and_up_keep_data_ports_and_done_steps(tmp_path: Path) -> None:
    project = make(tmp_path / "project")
    wanted = load(project.root).stacks[("mock",)].wanted_ports()["web"]
    with socket.create_server(("127.0.0.1", wanted)):
        first = project.devenv("up", "--detach")
        before = project.status()
        assert project.devenv("down").returncode == 0

    again = project.devenv("up", "--detach")
    after = project.status()
    project.devenv("reset", "--yes")

    assert f"port {wanted} is taken by " in first.stderr
    assert again.stderr.count("nothing new") == 2
    assert (after["urls"], after["api_key"]) == (before["urls"], before["api_key"])
    assert after["urls"]["web"] != f"http://localhost:{wanted}"
    assert not (project.root / ".devenv").exists()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> CliProject:
    """A project that tests start in the foreground, one after the other."""
    return make(tmp_path_factory.mktemp("interrupted") / "project")


def test_ctrl_c_stops_stack_gracefully(interrupted: CliProject) -> None:
    project = interrupted
    started = foreground(project)
    pids = [one["pid"] for one in project.status()["services"].values() if one["pid"]]

    started.send_signal(signal.SIGINT)
    started.communicate(timeout=LIMIT * slowdown())

    assert started.returncode == 130
    assert not any(lives(pid) for pid in pids)


def test_second_ctrl_c_kills_stack(interrupted: CliProject) -> None:
    project = interrupted
    started = foreground(project)
    pids = [one["pid"] for one in project.status()["services"].values() if one["pid"]]
    os.kill(project.status()["services"]["web"]["pid"], signal.SIGSTOP)

    started.send_signal(signal.SIGINT)
    until(lambda: read(project.root / ".devenv" / "state.json").phase == "stopping")
    started.send_signal(signal.SIGINT)
    said, _ = started.communicate(timeout=LIMIT * slowdown())

    assert started.returncode == 130
    assert said.endswith(b"  Killed.\n")  # after one Ctrl-C it would wait
    wait_until_gone(pids)


def test_killed_supervisor_leaves_no_process(interrupted: CliProject) -> None:
    project = interrupted
    started = foreground(project)
    pids = [one["pid"] for one in project.status()["services"].values() if one["pid"]]

    started.kill()
    started.communicate(timeout=LIMIT * slowdown())

    wait_until_gone(pids)
    assert project.devenv("status").returncode == 1


def test_failing_step_ends_start_with_its_output(tmp_path: Path) -> None:
    project = make(tmp_path / "project")
    (project.root / "broken").touch()

    done = project.devenv("up", "--detach")

    assert done.returncode == 1
    assert "the table is on fire" in done.stderr
    assert "Ctrl-C" not in done.stderr
    assert "migrate exited with 1\n    Next: make logs S=migrate" in done.stderr


def foreground(project: CliProject) -> "subprocess.Popen[bytes]":
    started = subprocess.Popen(
        [sys.executable, "-m", "devenv", "up"],
        cwd=project.root,
        env=project.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert started.stdout
    while b"validibot workflows list" not in started.stdout.readline():
        assert started.poll() is None
    return started


def wait_until_gone(pids: list[int]) -> None:
    try:
        until(lambda: not any(lives(pid) for pid in pids))
    except AssertionError:
        stats = [Path(f"/proc/{pid}/stat") for pid in pids]
        left = [stat.read_text()[:80] for stat in stats if stat.exists()]
        raise AssertionError(f"processes outlived their stack: {left}") from None


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
