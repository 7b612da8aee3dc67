"""Flows of the seeded workflows without a cloud: mocked validators, and child processes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.stack import Stack
from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("mocked")

# Engines in the worker do not differ from those of the emulated cloud: one stands for all. Mocked
# validators have a recording for each sample.
SIMULATIONS = ["energyplus-small-office", "energyplus-design-day", "fmu-decay"]
OTHER_CONTAINERS = ["office-model-review", "invoice-schematron", "equipment-graph"]
MOCKED = ["meter-readings-schema", *OTHER_CONTAINERS, *SIMULATIONS]
LOCAL = ["energyplus-design-day", "fmu-decay"]
STATIONS = ("created", "queued", "delivered", "launched", "running")
# The web server of the second mode has no worker that could be called: it looks at the output.
OUTPUT_EVENT = {"mocked": "called_back", "local": "output_found"}


@dataclass(frozen=True)
class WebServer(Stack):
    """Another web server on the database of a stack."""

    port: int = 0

    @cached_property
    def facts(self) -> dict[str, Any]:
        facts = self.status()
        return facts | {"urls": facts["urls"] | {"web": f"http://localhost:{self.port}"}}

    def is_ready(self) -> bool:
        return httpx.get(f"{self.web}/health/").is_success


@pytest.fixture(scope="module")
def local(mocked: Stack) -> Iterator[Stack]:
    """A web server with `EXECUTION_BACKEND=subprocess`, which starts validators itself."""
    port = free_port()
    web = WebServer(mocked.root, mock=True, port=port)
    command = ["granian", "--interface", "asginl", "--port", str(port), "config.asgi:application"]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "devenv", "run"),
            *("env", "EXECUTION_BACKEND=subprocess", sys.executable, "-m", *command),
        ],
        cwd=mocked.root,
        env=web.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    web.until(web.is_ready)
    yield web
    web.api.close()
    server.terminate()
    server.wait()


@pytest.mark.parametrize("mode", ["mocked", "local"])
def test_pages_have_styles(request: pytest.FixtureRequest, mode: str) -> None:
    stack: Stack = request.getfixturevalue(mode)
    page = httpx.get(f"{stack.web}/accounts/login/").text
    (sheet,) = set(re.findall(r'href="(/static/[^"]+\.css)"', page))

    assert httpx.get(f"{stack.web}{sheet}").status_code == 200


def test_mock_mode_has_no_cloud(mocked: Stack) -> None:
    facts = mocked.status()

    assert facts["mode"] == "mock"
    assert "gcp" not in facts["services"]


@pytest.mark.parametrize(
    ("mode", "slug"), [("mocked", each) for each in MOCKED] + [("local", each) for each in LOCAL]
)
def test_sample_passes(request: pytest.FixtureRequest, mode: str, slug: str) -> None:
    stack: Stack = request.getfixturevalue(mode)

    run = stack.run(slug, stack.sample(slug))

    assert (run["state"], run["result"]) == ("COMPLETED", "PASS"), run
    if slug in SIMULATIONS:
        stations = [*STATIONS, OUTPUT_EVENT[mode], "passed"]
        assert [kind for kind in stack.events(run["id"]) if kind in stations] == stations


@pytest.mark.parametrize("slug", MOCKED)
def test_failing_sample_fails(mocked: Stack, slug: str) -> None:
    run = mocked.run(slug, mocked.sample(slug, "failing_sample"))

    assert (run["state"], run["result"]) == ("COMPLETED", "FAIL"), run
    errors = [i for s in run["steps"] for i in s["issues"] if i["severity"] == "ERROR"]
    assert errors
    if slug in SIMULATIONS:
        assert OUTPUT_EVENT["mocked"] in mocked.events(run["id"])


def _processes_in(name: str) -> list[str]:
    """Return the commands of processes whose working folder has `name` in its path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if name in str((process / "cwd").readlink()):
                found.append((process / "comm").read_text().strip())
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_cancel_stops_engine_of_child_process(local: Stack) -> None:
    sample = local.sample("energyplus-small-office")
    run = local.launch("energyplus-small-office", sample.read_bytes(), sample.name).json()["id"]
    local.until(lambda: "launched" in local.events(run))
    attempt = local.told(run, "launched", "attempt")
    local.until(lambda: "energyplus" in _processes_in(attempt))

    answer = local.api.post(f"runs/{run}/cancel/")

    assert answer.json()["result"] == "CANCELED"
    local.until(lambda: not _processes_in(attempt))
    assert local.finished(run)["result"] == "CANCELED"
