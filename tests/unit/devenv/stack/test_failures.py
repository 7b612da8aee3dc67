"""Unit tests of services that are given up, and of the reasons."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devenv.stack.problems import ServiceFailed
from devenv.stack.runner_state import RunnerState
from devenv.stack.service import CommandProbe, Reload, Restart
from devenv.stack.supervisor import Supervisor
from tests.unit.devenv.stack.playing import FAST, Diary, play, reloading, service


def test_service_that_always_exits_is_given_up(tmp_path: Path) -> None:
    broken = replace(service("web", "echo no; exit 3"), probe=CommandProbe(("false",)))

    with pytest.raises(ServiceFailed, match="web exited with 3") as caught:
        play(tmp_path, broken)

    assert caught.value.hint == "make logs S=web"


def test_service_without_probe_that_always_exits_is_never_ready(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match="clock exited with 3"):
        play(tmp_path, service("db"), replace(service("clock", "echo no; exit 3"), settle=60))


def test_service_without_probe_that_exits_after_start_fails_until_its_next_edit(
    tmp_path: Path,
) -> None:
    code = tmp_path / "src" / "code"
    code.parent.mkdir()
    code.write_text(f"while [ -e {tmp_path}/starting ]; do sleep 0.02; done; exit 3")
    (tmp_path / "starting").touch()

    async def let_it_end(supervisor: Supervisor, diary: Diary) -> None:
        watching = await reloading(supervisor)
        (tmp_path / "starting").unlink()
        await diary.until("clock", RunnerState.FAILED)
        assert diary.changes[-1] == ("clock", RunnerState.FAILED, "exited with 3")
        code.write_text("exec sleep 60")
        await diary.until("clock", RunnerState.WAITING)
        await supervisor.runners["clock"].ready.wait()
        watching.cancel()

    clock = replace(service("clock", ". src/code"), reload=Reload(watch=("src/*",)))
    diary = play(tmp_path, clock, then=let_it_end)

    assert diary.order(RunnerState.FAILED) == ["clock"]


def test_service_without_probe_that_was_calm_is_started_again_always(tmp_path: Path) -> None:
    async def let_it_end(supervisor: Supervisor, diary: Diary) -> None:
        await diary.until("clock", RunnerState.STARTING, times=6)

    restart = replace(FAST, attempts=1, calm=0)  # seconds: each process has lived for longer
    diary = play(tmp_path, replace(service("clock", "exit 3"), restart=restart), then=let_it_end)

    assert diary.order(RunnerState.FAILED) == []


def test_service_that_never_gets_ready_ends_the_start_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    script = f"echo $$ > {tmp_path}/{{}}.pid; exec sleep 60".format
    silent = service("web", script("web"), "db")
    silent = replace(silent, probe=CommandProbe(("false",)), ready_within=0.5)

    with pytest.raises(ServiceFailed) as caught:
        play(tmp_path, service("db", script("db")), silent)

    assert str(caught.value) == "web was not healthy within 0.5 s"
    assert caught.value.hint == "make logs S=web"
    for name in ("db", "web"):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"{name}.pid").read_text()), 0)


def test_missing_program_fails_at_the_first_start(tmp_path: Path) -> None:
    missing = replace(service("web"), command=("/no/such/program",))

    with pytest.raises(ServiceFailed, match="web cannot start /no/such/program: No such file"):
        play(tmp_path, replace(missing, restart=Restart(first=60.0)))


def test_missing_environment_fails_with_its_reason(tmp_path: Path) -> None:
    def environ() -> dict[str, str]:
        raise FileNotFoundError("endpoints.json is not there")

    with pytest.raises(ServiceFailed, match=r"endpoints\.json is not there"):
        play(tmp_path, replace(service("web"), environ=environ))


def test_traceback_of_ended_process_is_its_reason(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def main():\n    raise ValueError('no port')\nmain()\n")
    fails = replace(
        service("web"),
        command=(sys.executable, str(tmp_path / "app.py")),
        probe=CommandProbe(("false",)),
    )

    with pytest.raises(ServiceFailed, match=r"web app\.py:2 ValueError: no port"):
        play(tmp_path, fails)
