"""A waiting process becomes a task that cannot tell it from a fresh one."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from devenv.gcp.config import ImageConfig
from devenv.gcp.run_jobs.runtimes import warm
from devenv.gcp.run_jobs.runtimes.base import AttemptExit, EmulatedAttempt
from devenv.gcp.run_jobs.runtimes.process import ProcessRuntime
from tests.unit.devenv.gcp.run_jobs.processes import (
    EXECUTION,
    IMAGE,
    alive,
    eventually,
    log_of,
    make_attempt,
)

pytestmark = pytest.mark.anyio

# `tool` imports `slow`; its main module obeys its first argument.
SLOW = "import os\nSEEN = os.environ['WHO']\n"
MAIN = """
import atexit, json, os, signal, sys, tempfile, time
import tool.slow

def facts():
    return {
        "name": __name__, "spec": __spec__.name, "file": __file__, "argv": sys.argv,
        "path": sys.path, "environ": dict(os.environ), "cwd": os.getcwd(), "stdin": sys.stdin.read(),
        "temporary": tempfile.gettempdir(), "leader": os.getsid(0) == os.getpid(),
        "signals": [str(signal.getsignal(n)) for n in (2, 13, 15, 17)],
        "flags": str(sys.flags), "buffered": sys.stdout.line_buffering, "zone": time.tzname,
        "main": sys.modules["__main__"].__name__, "ours": "supervisor" in sys.modules,
        "files": sorted(os.listdir("/proc/self/fd")), "seen": tool.slow.SEEN,
    }

def forked():
    return sys.orig_argv[1] == "-c"

atexit.register(print, "bye")
exec(sys.argv[1])
"""
FACTS = "print(json.dumps(facts()))"


@pytest.fixture
async def runtime(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ProcessRuntime]:
    package = tmp_path / "project" / "tool"
    package.mkdir(parents=True)
    for name, source in (("__init__", ""), ("slow", SLOW), ("__main__", MAIN)):
        (package / f"{name}.py").write_text(source)
    runtime = ProcessRuntime(
        images=[ImageConfig(IMAGE, ("{python}", "-m", "tool"), warm=("json", "tool.slow"))],
        environ=lambda account: {"WHO": account},
        data=tmp_path,
        project=tmp_path / "project",
        grace=0.2,
    )
    await runtime.open(set())
    yield runtime
    await runtime.close()


async def ready(runtime: ProcessRuntime, attempt: EmulatedAttempt) -> int:
    """Return the pid of the waiting process for such attempts, once it waits."""
    runtime.prepare(attempt)
    (server,) = runtime._servers._servers.values()
    await eventually(lambda: server.ready)
    return server._pid


async def run(
    runtime: ProcessRuntime, data: Path, attempt: EmulatedAttempt
) -> tuple[AttemptExit, str]:
    """Run an attempt to its end; return that and what it printed."""
    (data / "logs" / EXECUTION / "task0-0.log").unlink(missing_ok=True)
    ended = await (await runtime.start(attempt)).wait()
    return ended, log_of(data)


async def test_warm_process_looks_like_fresh_process(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    attempt = make_attempt(FACTS, env={"PYTHONUNBUFFERED": "1", "TZ": "Asia/Tokyo", "A": "b"})
    facts: list[Any] = []
    for is_warm in (False, True):
        if is_warm:
            await ready(runtime, attempt)
        ended, output = await run(runtime, tmp_path, attempt)
        assert ended == AttemptExit()
        facts.append(json.loads(output.splitlines()[0]))

    assert facts[1] == facts[0]
    assert facts[1]["seen"] == "runner@demo"


async def test_warm_process_is_used_when_ready(runtime: ProcessRuntime, tmp_path: Path) -> None:
    attempt = make_attempt("print(forked())")
    cold = await run(runtime, tmp_path, attempt)
    await ready(runtime, attempt)
    forked = await run(runtime, tmp_path, attempt)

    assert (cold[1], forked[1]) == ("False\nbye\n", "True\nbye\n")


@pytest.mark.parametrize(
    ("source", "how", "output"),
    [
        ("sys.exit(3)", AttemptExit(code=3), "bye\nContainer called exit(3).\n"),
        ("1 / 0", AttemptExit(code=1), "ZeroDivisionError: division by zero"),
        ("os.kill(os.getpid(), 9)", AttemptExit(signal=9), "Container terminated on signal 9.\n"),
    ],
    ids=["exit", "exception", "signal"],
)
async def test_warm_task_exits_with_program_status(
    runtime: ProcessRuntime, tmp_path: Path, source: str, how: AttemptExit, output: str
) -> None:
    attempt = make_attempt(source)
    await ready(runtime, attempt)

    ended, written = await run(runtime, tmp_path, attempt)
    assert ended == how
    assert output in written


async def test_warm_process_serves_several_tasks(runtime: ProcessRuntime, tmp_path: Path) -> None:
    waiting = await ready(runtime, make_attempt())
    for number in range(3):
        attempt = make_attempt(f"print(forked(), {number})", env={"NUMBER": str(number)})
        assert await run(runtime, tmp_path, attempt) == (AttemptExit(), f"True {number}\nbye\n")

    assert alive(waiting)


async def test_dead_warm_process_is_replaced_by_cold_start(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    attempt = make_attempt("print(forked())")
    os.kill(await ready(runtime, attempt), signal.SIGSTOP)
    starting = runtime.start(attempt)
    os.kill(next(iter(runtime._servers._servers.values()))._pid, signal.SIGKILL)

    assert await (await starting).wait() == AttemptExit()
    assert log_of(tmp_path) == "False\nbye\n"


async def test_silent_warm_process_is_given_up(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "FORK_TIMEOUT", 0.1)
    attempt = make_attempt("print(forked())")
    waiting = await ready(runtime, attempt)
    os.kill(waiting, signal.SIGSTOP)

    assert await run(runtime, tmp_path, attempt) == (AttemptExit(), "False\nbye\n")
    await eventually(lambda: not alive(waiting))


async def test_task_outlives_warm_process(runtime: ProcessRuntime, tmp_path: Path) -> None:
    attempt = make_attempt("print('ready', flush=True); time.sleep(0.3); sys.exit(4)")
    waiting = await ready(runtime, attempt)
    running = await runtime.start(attempt)
    await eventually(lambda: log_of(tmp_path))
    os.kill(waiting, signal.SIGKILL)

    assert (await running.wait()).code == 4


async def test_interpreter_variables_need_their_own_warm_process(
    runtime: ProcessRuntime,
) -> None:
    kinds = {
        runtime._kind(make_attempt(env={"PYTHONUNBUFFERED": "1", "INPUT": "a"})),
        runtime._kind(make_attempt(env={"PYTHONUNBUFFERED": "1", "INPUT": "b"})),
        runtime._kind(make_attempt(env={"INPUT": "c"})),
    }

    assert len(kinds) == 2


async def test_job_with_own_command_starts_cold(runtime: ProcessRuntime) -> None:
    assert runtime._kind(make_attempt(command=("sh",))) is None


async def test_close_ends_warm_process(runtime: ProcessRuntime) -> None:
    waiting = await ready(runtime, make_attempt())
    await runtime.close()

    assert not alive(waiting)
