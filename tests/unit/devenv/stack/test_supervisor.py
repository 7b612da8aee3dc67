"""Unit tests of a whole stack: order, health, restart, reload, stop."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devenv.stack.problems import ServiceFailed, StackError
from devenv.stack.runner_state import RunnerState
from devenv.stack.service import CommandProbe, Once, Reload, Restart, StackService
from devenv.stack.supervisor import Supervisor
from tests.unit.devenv.stack.playing import Diary, play, reloading, service


def test_services_start_after_needs_and_stop_before_them(tmp_path: Path) -> None:
    diary = play(tmp_path, service("web", "exec sleep 60", "db"), service("db"))

    assert diary.order(RunnerState.HEALTHY) == ["db", "web"]
    assert diary.order(RunnerState.STOPPED) == ["web", "db"]


def test_killed_service_restarts_and_dependents_keep_running(tmp_path: Path) -> None:
    async def kill(supervisor: Supervisor, diary: Diary) -> None:
        os.kill(supervisor.runners["db"].pid or 0, signal.SIGKILL)
        await diary.until("db", RunnerState.HEALTHY, times=2)

    diary = play(tmp_path, service("db"), service("web", "exec sleep 60", "db"), then=kill)

    assert ("db", RunnerState.RESTARTING, "was killed by SIGKILL") in diary.changes
    assert diary.order(RunnerState.STARTING).count("web") == 1


def test_step_runs_once_before_dependents(tmp_path: Path) -> None:
    step = replace(service("setup", "echo ran"), once=Once(tmp_path / "setup.done", lambda: "same"))

    first = play(tmp_path, step, service("web", "exec sleep 60", "setup"))
    second = play(tmp_path, step, service("web", "exec sleep 60", "setup"))

    assert first.lines == ["setup: ran"]
    assert second.lines == []
    assert second.order(RunnerState.HEALTHY) == ["web"]


def test_failed_step_is_not_repeated(tmp_path: Path) -> None:
    step = replace(service("setup", "exit 1"), once=Once(tmp_path / "done", lambda: "same"))

    with pytest.raises(ServiceFailed, match="setup exited with 1"):
        play(tmp_path, step)

    assert not (tmp_path / "done").exists()


def test_edit_restarts_service_without_port(tmp_path: Path) -> None:
    code = tmp_path / "src" / "code"
    code.parent.mkdir()
    code.write_text("echo first; exec sleep 60")

    async def edit(supervisor: Supervisor, diary: Diary) -> None:
        watching = await reloading(supervisor)
        await diary.until_line("web: first")
        code.write_text("echo second; exec sleep 60")
        await diary.until_line("web: second")
        watching.cancel()

    script = "trap 'echo drained; exit 0' TERM; . src/code & wait"
    diary = play(
        tmp_path, replace(service("web", script), reload=Reload(watch=("src/**",))), then=edit
    )

    assert diary.lines[:3] == ["web: first", "web: drained", "web: second"]
    assert ("web", RunnerState.RESTARTING, "code changed") in diary.changes


def test_edit_ends_pause_after_broken_code(tmp_path: Path) -> None:
    slow = Restart(first=60, ceiling=60)
    (tmp_path / "src").mkdir()
    code = tmp_path / "src" / "code"
    code.write_text("exec sleep 60")

    async def edit(supervisor: Supervisor, diary: Diary) -> None:
        watching = await reloading(supervisor)
        code.write_text("echo broken; exit 1")
        await diary.until_line("web: broken")
        code.write_text("echo mended; exec sleep 60")
        await diary.until_line("web: mended")
        watching.cancel()

    runs = replace(service("web", ". src/code"), restart=slow, reload=Reload(watch=("src/*",)))
    diary = play(tmp_path, runs, then=edit)

    assert diary.lines[-1] == "web: mended"


def test_edit_signals_service_that_reloads_itself(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()

    async def edit(supervisor: Supervisor, diary: Diary) -> None:
        watching = await reloading(supervisor)
        await diary.until_line("web: up")
        (tmp_path / "src" / "code").touch()
        await diary.until_line("web: told")
        watching.cancel()

    runs = replace(
        # A shell cannot trap SIGHUP where the tests run under nohup.
        service("web", "trap 'echo told' USR1; echo up; while :; do sleep 0.05; done"),
        reload=Reload(watch=("src/**",), signal=signal.SIGUSR1),
    )
    diary = play(tmp_path, runs, then=edit)

    assert diary.lines == ["web: up", "web: told"]
    assert diary.order(RunnerState.STARTING) == ["web"]


def migrating(tmp_path: Path) -> tuple[StackService, StackService]:
    """Return a step that runs `migration`, and a service that needs it and watches the same files."""
    migration = tmp_path / "src" / "migration"
    migration.parent.mkdir()
    migration.write_text("echo first")
    step = replace(
        service("migrate", ". src/migration"),
        once=Once(tmp_path / "migrate.done", migration.read_text),
        reload=Reload(watch=("src/migration",)),
    )
    web = service("web", "trap 'exit 0' TERM; echo up; sleep 60 & wait", "migrate")
    return step, replace(web, reload=Reload(watch=("src/**",)))


def test_edited_step_runs_again_before_service_reloads(tmp_path: Path) -> None:
    async def edit(supervisor: Supervisor, diary: Diary) -> None:
        watching = await reloading(supervisor)
        await diary.until_line("web: up")
        (tmp_path / "src" / "migration").write_text("echo second")
        await diary.until("web", RunnerState.HEALTHY, times=2)
        watching.cancel()

    diary = play(tmp_path, *migrating(tmp_path), then=edit)

    assert diary.lines[:3] == ["migrate: first", "web: up", "migrate: second"]
    assert ("migrate", "") in diary.reloads


def test_failed_step_keeps_old_code_until_next_edit(tmp_path: Path) -> None:
    async def edit(supervisor: Supervisor, diary: Diary) -> None:
        watching = await reloading(supervisor)
        await diary.until_line("web: up")
        (tmp_path / "src" / "migration").write_text("exit 3")
        await diary.until_reload("web", "migrate: exited with 3")
        assert diary.order(RunnerState.STARTING).count("web") == 1
        (tmp_path / "src" / "migration").write_text("echo mended")
        await diary.until("web", RunnerState.HEALTHY, times=2)
        watching.cancel()

    diary = play(tmp_path, *migrating(tmp_path), then=edit)

    assert diary.reloads[:2] == [("migrate", "exited with 3"), ("web", "migrate: exited with 3")]
    assert diary.reloads[2] == ("migrate", "")
    assert "migrate: mended" in diary.lines


def test_unparsable_file_keeps_old_code_until_it_is_mended(tmp_path: Path) -> None:
    broken, other = tmp_path / "src" / "broken.py", tmp_path / "src" / "other.py"
    broken.parent.mkdir()
    problem = "src/broken.py:2 SyntaxError: '(' was never closed"

    async def edit(supervisor: Supervisor, diary: Diary) -> None:
        watching = await reloading(supervisor)
        broken.write_text("\nx = (\n")
        await diary.until_reload("web", problem)
        other.write_text("y = 1\n")
        await diary.until_reload("web", problem, times=2)
        broken.write_text("x = ()\n")
        await diary.until("web", RunnerState.HEALTHY, times=2)
        watching.cancel()

    web = service("web")
    sleeping = (sys.executable, "-c", "import time; time.sleep(60)")
    diary = play(
        tmp_path, replace(web, command=sleeping, reload=Reload(watch=("src/*",))), then=edit
    )

    assert diary.lines == [f"web: {problem}"] * 2


def test_stopped_service_stays_stopped_until_it_is_started(tmp_path: Path) -> None:
    pids = []

    async def command(supervisor: Supervisor, diary: Diary) -> None:
        pids.append(supervisor.runners["web"].pid)
        await supervisor.stop("web")
        assert supervisor.runners["web"].pid is None
        with pytest.raises(StackError, match="web is stopped already"):
            await supervisor.stop("web")
        await supervisor.start("web")
        with pytest.raises(StackError, match="web is healthy already"):
            await supervisor.start("web")
        pids.append(supervisor.runners["web"].pid)
        await supervisor.restart("web")
        pids.append(supervisor.runners["web"].pid)

    diary = play(tmp_path, service("db"), service("web", "exec sleep 60", "db"), then=command)

    assert len({*pids, None}) == 4
    assert diary.order(RunnerState.STARTING).count("db") == 1


def test_service_whose_need_is_stopped_does_not_start(tmp_path: Path) -> None:
    async def command(supervisor: Supervisor, diary: Diary) -> None:
        await supervisor.stop("web")
        await supervisor.stop("db")
        with pytest.raises(StackError, match="web needs db, which is stopped") as caught:
            await supervisor.start("web")
        assert caught.value.hint == "devenv start db"

    play(tmp_path, service("db"), service("web", "exec sleep 60", "db"), then=command)


def test_restart_of_step_runs_it_again(tmp_path: Path) -> None:
    step = replace(service("setup", "echo ran"), once=Once(tmp_path / "setup.done", lambda: "same"))

    async def command(supervisor: Supervisor, diary: Diary) -> None:
        await supervisor.restart("setup")
        with pytest.raises(StackError, match="setup is a step that ends"):
            await supervisor.stop("setup")
        with pytest.raises(StackError, match="There is no service web; there are setup"):
            await supervisor.restart("web")

    diary = play(tmp_path, step, then=command)

    assert diary.lines == ["setup: ran", "setup: ran"]


def test_restarted_service_that_fails_is_reported(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("exec sleep 60")
    web = replace(
        service("web", f". {script}"),
        restart=Restart(attempts=1),
        probe=CommandProbe(("test", "-e", str(script))),
    )

    async def command(supervisor: Supervisor, diary: Diary) -> None:
        script.unlink()
        with pytest.raises(ServiceFailed, match="web exited with"):
            await supervisor.restart("web")
        script.write_text("exec sleep 60")
        await supervisor.start("web")

    diary = play(tmp_path, web, then=command)

    assert diary.order(RunnerState.FAILED) == ["web"]
