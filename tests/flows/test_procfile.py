"""Flows of the Procfile as a platform runs it: release, and start, stop and kill of processes."""

import os
import signal
import subprocess
import sys

import pytest

from tests.checkout import ROOT
from tests.flows.host import PROGRAMS, Host, site
from tests.ports import free_port
from tests.waiting import until

pytestmark = [
    pytest.mark.xdist_group("procfile"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
]

LIGHT, FMU, LONG = "meter-readings-schema", "fmu-decay", "energyplus-small-office"
WSGI = {"WEB_INTERFACE": "wsgi", "WEB_CONCURRENCY": "2"}


def test_two_webs_and_workers_share_runs_and_stop(host: Host) -> None:
    port = free_port(successors=1)
    processes = host.start("web=2", "worker=2", "clock", port=port)
    with processes as runner, site(port) as first, site(port + 1) as second:
        light, fmu = host.sample(LIGHT), host.sample(FMU)
        runs = [each.launch(LIGHT, light).json()["id"] for each in [first, second] * 4]
        runs.append(second.launch(FMU, fmu).json()["id"])

        assert [first.result(run) for run in runs] == ["PASS"] * 9
        assert {"launched", "running", "output_found"} <= set(first.events(runs[-1]))
        until(lambda: len(host.pids("queue_worker")) == 2)
        runner.terminate()
        runner.ended()
        assert host.pids() == []


def test_runs_of_lost_workers_are_taken_over_while_wsgi_serves(host: Host) -> None:
    port = free_port(successors=1)
    with host.start("web", port=port, **WSGI), site(port) as web:
        until(lambda: len(host.pids("config.wsgi")) >= 3)  # the parent and two workers
        with host.start("worker", WORKER_SHUTDOWN_SECONDS="1") as worker:
            first = web.launch(LONG, host.sample(LONG)).json()["id"]
            until(lambda: "running" in web.events(first), every=0.2)
            worker.terminate()
            worker.ended()
            assert host.pids("queue_worker") == []
        with host.start("worker"):
            assert web.result(first) == "PASS"
            second = web.launch(LONG, host.sample(LONG)).json()["id"]
            until(lambda: "running" in web.events(second), every=0.2)
            until(lambda: len(host.pids("queue_worker")) == 1)
            (pid,) = host.pids("queue_worker")
            os.kill(pid, signal.SIGKILL)
            with host.start("worker"):
                assert web.result(second) == "PASS"
                assert web.finished(LIGHT, host.sample(LIGHT))["result"] == "PASS"
            assert web.events(second).count("passed") == 1


def test_release_without_static_files_fails(host: Host) -> None:
    done = host.manage("release", STATIC_ROOT=str(host.folder / "nothing"))

    assert done.returncode == 1
    assert "Collect them" in done.stderr


def test_procfile_is_parsed_by_its_runner() -> None:
    checked = subprocess.run(
        [PROGRAMS / "honcho", "check"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "(web, worker, clock, release)" in checked.stderr
