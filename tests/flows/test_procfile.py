"""The Procfile, run as a platform runs it: release, then processes that come, go and die."""

import os
import signal
import subprocess
import sys

import pytest

from tests.flows import host as hosts
from tests.flows.host import PROGRAMS, Host, site, two_ports
from tests.waiting import until

pytestmark = [
    pytest.mark.xdist_group("procfile"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells whose process it is"),
]

LIGHT, FMU, LONG = "meter-readings-schema", "fmu-decay", "energyplus-small-office"


def test_two_webs_and_two_workers_share_the_runs_and_a_term_ends_all(host: Host) -> None:
    port = two_ports()
    processes = host.start("web=2", "worker=2", "clock", port=port)
    with processes as runner, site(port) as first, site(port + 1) as second:
        light, fmu = host.sample(LIGHT), host.sample(FMU)
        runs = [each.launch(LIGHT, light).json()["id"] for each in [first, second] * 4]
        runs.append(second.launch(FMU, fmu).json()["id"])

        assert [first.result(run) for run in runs] == ["PASS"] * 9
        assert {"launched", "running", "called_back"} <= set(first.events(runs[-1]))
        assert len(host.pids("queue_worker")) == 2
        runner.terminate()
        runner.ended(seconds=30)
        assert host.pids() == []


def test_a_term_puts_back_what_takes_too_long_and_a_new_process_goes_on(host: Host) -> None:
    port = two_ports()
    with host.start("web", port=port), site(port) as web:
        with host.start("worker", WORKER_SHUTDOWN_SECONDS="1") as worker:
            run = web.launch(LONG, host.sample(LONG)).json()["id"]
            until(lambda: "running" in web.events(run))
            worker.terminate()
            worker.ended(seconds=30)
            assert host.pids("queue_worker") == []
        with host.start("worker"):
            assert web.result(run) == "PASS"


def test_a_killed_workers_run_is_taken_over_by_another(host: Host) -> None:
    port = two_ports()
    with host.start("web", port=port), host.start("worker"), site(port) as web:
        run = web.launch(LONG, host.sample(LONG)).json()["id"]
        until(lambda: "running" in web.events(run))
        (pid,) = host.pids("queue_worker")
        os.kill(pid, signal.SIGKILL)
        with host.start("worker"):
            assert web.result(run) == "PASS"
        assert web.events(run).count("passed") == 1


def test_the_variant_on_wsgi_serves_too(host: Host) -> None:
    port = two_ports()
    variant = {"WEB_INTERFACE": "wsgi", "WEB_CONCURRENCY": "2"}
    with host.start("web", "worker", port=port, **variant), site(port) as web:
        answer = web.launch(LIGHT, host.sample(LIGHT), Prefer="wait=20")

        assert (answer.status_code, answer.json()["result"]) == (201, "PASS")
        assert len(host.pids("config.wsgi")) >= 3  # the parent and two workers


def test_a_release_stops_where_nobody_collected_the_static_files(host: Host) -> None:
    done = host.manage("release", STATIC_ROOT=str(host.folder / "nothing"))

    assert done.returncode == 1
    assert "Collect them" in done.stderr


def test_every_line_of_the_procfile_is_known_to_its_runner() -> None:
    checked = subprocess.run(
        [PROGRAMS / "honcho", "check"], cwd=hosts.ROOT, capture_output=True, text=True, check=True
    )

    assert "(web, worker, clock, release)" in checked.stderr
