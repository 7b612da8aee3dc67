"""Flows of docker-compose.local.yml and `make up RUNTIME=docker`: the whole stack in containers."""

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from devenv.environment import machine
from tests import pages
from tests.cli.project import put_stand_in
from tests.docker import composed
from tests.docker.composed import Composed

pytestmark = [
    pytest.mark.xdist_group("compose"),
    pytest.mark.usefixtures("manifests"),
]

_REACH = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 60 if host == "gcp" else 1).close()
        print(place)
    except OSError:
        pass
"""

_ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
_LISTEN = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=9000)"
# Everything but the container's init and this process.
_FREEZE = """
import os, signal
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        os.kill(int(name), signal.SIGSTOP)
"""


@pytest.fixture(scope="module")
def stack(manifests: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """Start the whole stack in the background."""
    with composed.made(tmp_path_factory.mktemp("compose")) as made:
        up = made.devenv("up", "--runtime", "docker", "--detach")
        assert up.returncode == 0, up.stderr
        with made.api:
            yield made


def _validate(stack: Composed, slug: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run the published client with the lines that `make up` prints."""
    settings = {
        "HOME": str(home),
        "VALIDIBOT_API_URL": stack.web,
        "VALIDIBOT_TOKEN": stack.facts["api_key"],
        "VALIDIBOT_ORG": stack.facts["org"],
        "VALIDIBOT_NO_KEYRING": "1",
    }
    command = [str(Path(sys.executable).with_name("validibot")), "validate"]
    return subprocess.run(
        [*command, str(stack.sample(slug)), "-w", slug],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("slug", ["energyplus-small-office", "fmu-decay"])
def test_published_client_runs_real_validator(stack: Composed, tmp_path: Path, slug: str) -> None:
    done = _validate(stack, slug, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


def test_mail_arrives_in_catcher(stack: Composed) -> None:
    address = f"{uuid.uuid4().hex[:8]}@example.com"
    with httpx.Client(base_url=stack.web, follow_redirects=True) as browser:
        page = browser.get("/accounts/signup/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"email": address, "password1": "blue-lamp-9", "password2": "blue-lamp-9"}
        browser.post("/accounts/signup/", data=form | {"csrfmiddlewaretoken": token[1]})
    mails = f"{stack.facts['urls']['mail']}/api/v1/messages"

    assert stack.until(lambda: address in httpx.get(mails).text)


def test_killed_job_ends_run_with_error(stack: Composed) -> None:
    model, others = stack.sample("energyplus-small-office").read_bytes(), stack.job_containers()
    pk = stack.launch("energyplus-small-office", model, "office.idf").json()["id"]
    (job,) = stack.until(lambda: stack.job_containers() - others)
    subprocess.run(["docker", "kill", job], check=True, capture_output=True)
    run = stack.finished(pk)

    assert run["result"] == "ERROR"
    assert run["error"].startswith("The validator stored no output. Task ")


def test_job_reaches_only_emulated_cloud(stack: Composed) -> None:
    ports = {"postgres": 5432, "web": 8000, "worker": 8001, "mail": 1025}
    inside = [f"{_address(stack, name)}:{port}" for name, port in ports.items()]
    model, others = stack.sample("energyplus-small-office").read_bytes(), stack.job_containers()
    for _ in range(2):
        stack.launch("energyplus-small-office", model, "office.idf")
    job, neighbour = stack.until(lambda: _pair(stack.job_containers() - others))
    for each in (job, neighbour):
        # Frozen, the validator cannot end while we look; a second process of its container can run.
        _docker("exec", each, "python", "-c", _FREEZE)
    _docker("exec", "--detach", neighbour, "python", "-c", _LISTEN)
    address = _docker("inspect", "--format", _ADDRESS, neighbour)
    places = ["gcp:4588", "postgres:5432", *inside, f"{address}:9000"]
    reached = _docker("exec", job, "python", "-c", _REACH, *places, "1.1.1.1:443", "172.17.0.1:22")
    _docker("kill", job, neighbour)

    assert reached.split() == ["gcp:4588"]


def _pair(containers: set[str]) -> list[str]:
    return sorted(containers) if len(containers) == 2 else []


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _address(stack: Composed, service: str) -> str:
    network = f'(index .NetworkSettings.Networks "{stack.project}_services").IPAddress'
    name = f"{stack.project}-{service}-1"
    asked = ["docker", "inspect", "--format", "{{" + network + "}}", name]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_edit_of_source_is_reloaded(stack: Composed) -> None:
    source = stack.root / "validibot" / "core" / "health.py"
    before = source.read_text()
    source.write_text(before.replace('{"status": "ok"}', '{"status": "edited"}'))
    try:
        assert stack.until(lambda: "edited" in httpx.get(f"{stack.web}/health/").text)
    finally:
        source.write_text(before)
        stack.until(lambda: "ok" in httpx.get(f"{stack.web}/health/").text)


def test_commands_work_on_stack_in_containers(stack: Composed) -> None:
    status = stack.status()
    again = stack.devenv("up", "--runtime", "docker")
    logs = stack.devenv("logs", "--no-follow", "--lines", "5000", "gcp")
    run = stack.devenv("run", "--", "python", "-c", "import os; print(os.environ['SITE_URL'])")

    assert status["runtime"] == "docker"
    assert {status["services"][name]["state"] for name in ("web", "worker", "gcp")} == {"healthy"}
    assert "It already runs here, in containers" in again.stderr
    assert "ready in" in logs.stdout
    assert run.stdout.strip() == stack.web


def test_commands_of_docs_page_work(stack: Composed) -> None:
    done = pages.execute(
        "docs/modes/compose.md",
        environ=machine() | {"COMPOSE_PROJECT_NAME": stack.project},
        folder=stack.root,
    )

    assert done.returncode == 0, done.stderr


def test_ports_are_published_on_loopback_only(stack: Composed) -> None:
    ports = stack.compose("ps", "--all", "--format", "{{.Ports}}").stdout

    published = re.findall(r"(\S+):\d+->(\d+)", ports)
    assert {address for address, _ in published} == {"127.0.0.1"}
    assert {port for _, port in published} == {"8000", "8025", "5432", "4588", "8090"}


def test_console_of_containers_shows_cloud_and_mail(stack: Composed) -> None:
    link = stack.facts["urls"]["console"]
    origin = link.partition("/?token=")[0]
    with httpx.Client(base_url=origin, follow_redirects=True, trust_env=False) as browser:
        first = browser.get(link)
        jobs, mail = browser.get("/jobs").text, browser.get("/mail").text
        anonymous = httpx.get(f"{origin}/jobs", trust_env=False)

    assert first.url.path == "/traces"
    assert 'href="/snapshots"' not in first.text
    assert "validibot-validator-energyplus" in jobs
    assert f'href="{stack.facts["urls"]["mail"]}"' in mail
    assert anonymous.status_code == 403


def test_web_prints_how_to_sign_in(stack: Composed) -> None:
    log = stack.compose("logs", "--no-log-prefix", "web").stdout

    for line in (
        "Sign in   demo@",
        "export VALIDIBOT_API_URL=",
        " VALIDIBOT_TOKEN=",
        " VALIDIBOT_ORG=",
    ):
        assert line in log


def test_compose_file_is_valid_with_profiles() -> None:
    asked = ["docker", "compose", "-f", composed.FILE, "--profile", "*", "config", "--quiet"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def other(stack: Composed, tmp_path: Path) -> Iterator[Composed]:
    """Another checkout, whose folder has the same name."""
    with composed.made(tmp_path, stack.root.name) as made:
        assert made.project != stack.project
        yield made


def test_other_checkout_cannot_start_or_stop_the_stack(stack: Composed, other: Composed) -> None:
    named = {"COMPOSE_PROJECT_NAME": stack.project}
    refused = other.devenv("up", "--runtime", "docker", "--detach", **named)
    others = [other.devenv(*words, **named) for words in (["down"], ["reset", "--yes"])]

    assert f"The compose project {stack.project} belongs to {stack.root}" in refused.stderr
    assert [done.returncode for done in (refused, *others)] == [1, 0, 0]
    assert stack.status()["services"]["web"]["state"] == "healthy"


@pytest.mark.last
def test_compose_alone_sets_up_other_storage_server(stack: Composed) -> None:
    """Docker alone starts what the setup needs, and leaves the data; web and worker come after it."""
    stopped = stack.devenv("down")
    profile = ("--profile", "fake-gcs")
    done = stack.compose(*profile, "run", "--rm", "setup", POSTGRES_PORT="0", GCP_PORT="0")
    assert done.returncode == 0, done.stderr
    objects = stack.compose("exec", "fake-gcs", "find", "/state/fake-gcs", "-name", "*.epw")
    down = stack.compose(*profile, "down")

    assert ".epw" in objects.stdout, objects.stderr
    assert [one.returncode for one in (stopped, down)] == [0, 0], stopped.stderr + down.stderr
    assert stack.left() == [f"{stack.project}_state"]


@pytest.mark.last
def test_stack_is_removed_by_its_own_checkout_only(stack: Composed, other: Composed) -> None:
    assert stack.devenv("down").returncode == 0
    one = Composed(stack.root)
    with one.foreground(MOCK_VALIDATORS="1") as started:
        assert started.stdout
        assert any("Ctrl-C stops everything" in line for line in started.stdout)
        path = one.sample("energyplus-small-office")
        result = one.run("energyplus-small-office", path)["result"]
        one.api.close()
        started.send_signal(signal.SIGINT)
        code = started.wait(300)

    assert (result, code) == ("PASS", 130)
    assert one.left() == [f"{one.project}_state"], "only the data stays"
    up = ("up", "--runtime", "docker", "--detach")
    refused = other.devenv(*up, COMPOSE_PROJECT_NAME=one.project)
    assert "has data that this folder did not make" in refused.stderr

    put_stand_in(one.root)  # what follows is about devenv only
    processes = one.devenv("up", "--detach", "--mode", "mock", MOCK_VALIDATORS="1")
    assert processes.returncode == 0, processes.stderr
    ended = [one.devenv(*words) for words in (["down"], ["reset", "--yes"])]
    assert [done.returncode for done in ended] == [0, 0], ended[-1].stderr
    assert one.left() == []
    assert not (one.root / ".devenv").exists()
