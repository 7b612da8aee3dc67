"""Unit tests of a whole stack: order, health, restart, reload, failure, stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from devenv.stack.problems import ServiceFailed, StackError
from devenv.stack.runner import RunnerState, ServiceRunner
from devenv.stack.service import CommandProbe, Once, Reload, Restart, StackService
from devenv.stack.supervisor import Supervisor

FAST = Restart(first=0.01, ceiling=0.02)


def service(name: str, script: str = "exec sleep 60", *needs: str) -> StackService:
    environ = dict(os.environ)  # noqa: TID251 - the child needs a PATH
    return StackService(
        name=name,
        command=("sh", "-c", script),
        environ=lambda: environ,
        needs=needs,
        restart=FAST,
    )


@dataclass
class Diary:
    """An observer that remembers."""

    changes: list[tuple[str, RunnerState, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    reloads: list[tuple[str, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, runner: ServiceRunner) -> None:
        self.news.set()
        self.changes.append((runner.service.name, runner.state, runner.note))

    def reloaded(self, runner: ServiceRunner, seconds: float) -> None:
        self.news.set()
        self.reloads.append((runner.service.name, runner.reload_failure))

    def line(self, service: str, text: str) -> None:
        self.news.set()
        self.lines.append(f"{service}: {text}")

    def order(self, state: RunnerState) -> list[str]:
        return [name for name, changed, _ in self.changes if changed is state]

    async def until_line(self, line: str) -> None:
        async with asyncio.timeout(20):
            while line not in self.lines:
                self.news.clear()
                await self.news.wait()

    async def until_reload(self, name: str, failure: str, *, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while self.reloads.count((name, failure)) < times:
                self.news.clear()
                await self.news.wait()

    async def until(self, name: str, state: RunnerState, *, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while self.order(state).count(name) < times:
                self.news.clear()
                await self.news.wait()


async def _nothing(supervisor: Supervisor, diary: Diary) -> None:
    pass


def play(
    tmp_path: Path,
    *services: StackService,
    then: Callable[[Supervisor, Diary], Awaitable[None]] = _nothing,
) -> Diary:
    diary = Diary()

    async def main() -> None:
        supervisor = Supervisor(services, folder=tmp_path, observer=diary)
        try:
            await supervisor.up()
            await then(supervisor, diary)
        finally:
            await supervisor.down()

    asyncio.run(main())
    return diary


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


def test_service_that_always_exits_is_given_up(tmp_path: Path) -> None:
    broken = replace(service("web", "echo no; exit 3"), probe=CommandProbe(("false",)))

    with pytest.raises(ServiceFailed, match="web exited with 3") as caught:
        play(tmp_path, broken)

    assert caught.value.hint == "make logs S=web"


def test_service_that_never_gets_ready_ends_the_start_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    script = f"echo $$ > {tmp_path}/{{}}.pid; exec sleep 60".format
    silent = service("web", script("web"), "db")
    silent = replace(silent, probe=CommandProbe(("false",)), ready_within=0.5)

    with pytest.raises(ServiceFailed) as caught:
        play(tmp_path, service("db", script("db")), silent)

    assert str(caught.value) == "web was not healthy within 0 s"
    assert caught.value.hint == "make logs S=web"
    for name in ("db", "web"):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"{name}.pid").read_text()), 0)


def test_missing_command_fails_with_127(tmp_path: Path) -> None:
    missing = replace(
        service("web"), command=("/no/such/program",), restart=Restart(attempts=1, first=0.01)
    )

    with pytest.raises(ServiceFailed, match="web exited with 127"):
        play(tmp_path, missing)


def test_missing_environment_fails_with_its_reason(tmp_path: Path) -> None:
    def environ() -> dict[str, str]:
        raise FileNotFoundError("endpoints.json is not there")

    with pytest.raises(ServiceFailed, match=r"endpoints\.json is not there"):
        play(tmp_path, replace(service("web"), environ=environ))


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


async def reloading(supervisor: Supervisor) -> asyncio.Task[None]:
    """Return the task that reloads on edits, once it watches."""
    task = asyncio.create_task(supervisor.reload_on_edits())
    for _ in range(5):
        await asyncio.sleep(0)
    return task


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


def test_traceback_of_ended_process_is_its_reason(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def main():\n    raise ValueError('no port')\nmain()\n")
    fails = replace(
        service("web"),
        command=(sys.executable, str(tmp_path / "app.py")),
        probe=CommandProbe(("false",)),
    )

    with pytest.raises(ServiceFailed, match=r"web app\.py:2 ValueError: no port"):
        play(tmp_path, fails)


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
