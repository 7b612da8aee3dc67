"""The `process` runtime: real processes, their ends, their output and what they are given."""

import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from devenv.gcp.run_jobs.runtimes import supervisor
from devenv.gcp.run_jobs.runtimes.base import AttemptExit, AttemptNotStarted
from devenv.gcp.run_jobs.runtimes.process import ProcessRuntime
from tests.unit.devenv.gcp.run_jobs.processes import (
    IGNORES_SIGTERM,
    alive,
    eventually,
    log_of,
    make_attempt,
    make_runtime,
    supervisor_of,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def runtime(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ProcessRuntime]:
    runtime = make_runtime(tmp_path)
    await runtime.open(set())
    yield runtime
    await runtime.close()


async def ended(runtime: ProcessRuntime, source: str, **changes: Any) -> AttemptExit:
    """Run Python source to its end."""
    running = await runtime.start(make_attempt(source, **changes))
    return await running.wait()


def folders(data: Path, pattern: str) -> list[Path]:
    """Return what there is of attempts."""
    return list((data / "runtimes").glob(pattern))


async def printed(runtime: ProcessRuntime, data: Path, expression: str, **changes: Any) -> Any:
    """Return the value that an expression of JSON types has in a container."""
    source = f"import json, os, sys; print(json.dumps({expression}))"
    assert await ended(runtime, source, **changes) == AttemptExit()
    return json.loads(log_of(data))


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("pass", AttemptExit()),
        ("raise SystemExit(3)", AttemptExit(code=3)),
        ("1 / 0", AttemptExit(code=1)),
        ("import os; os.kill(os.getpid(), 7)", AttemptExit(signal=7)),
    ],
    ids=["good", "exit", "exception", "signal"],
)
async def test_process_exit_is_reported(
    runtime: ProcessRuntime, source: str, how: AttemptExit
) -> None:
    assert await ended(runtime, source) == how


async def test_missing_command_exits_with_127(runtime: ProcessRuntime, tmp_path: Path) -> None:
    assert (await ended(runtime, "pass", command=("no-such-program",))).code == 127
    assert "no-such-program: No such file" in log_of(tmp_path)


async def test_terminated_process_may_end_by_itself(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    source = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        print("ready", flush=True)
        time.sleep(60)
    """
    running = await runtime.start(make_attempt(source))
    await eventually(lambda: log_of(tmp_path))
    running.terminate()

    assert await running.wait() == AttemptExit(code=5, terminated=True)


async def test_process_that_ignores_sigterm_is_killed_with_children(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    running = await runtime.start(make_attempt(IGNORES_SIGTERM))
    child = int(await eventually(lambda: log_of(tmp_path)))
    running.terminate()

    assert await running.wait() == AttemptExit(signal=9, terminated=True)
    await eventually(lambda: not alive(child))


async def test_child_processes_end_with_process(runtime: ProcessRuntime, tmp_path: Path) -> None:
    source = """
        import subprocess, sys
        print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
        sys.stdout.flush()
        import os; os._exit(0)
    """
    assert await ended(runtime, source) == AttemptExit()
    await eventually(lambda: not alive(int(log_of(tmp_path))))


async def test_process_over_memory_limit_is_killed(runtime: ProcessRuntime, tmp_path: Path) -> None:
    source = "import time; x = b'x' * 300_000_000; time.sleep(60)"

    assert await ended(runtime, source, memory=128 * 2**20) == AttemptExit(
        signal=9, out_of_memory=True
    )
    assert "Memory limit of 128 MiB exceeded with" in log_of(tmp_path)


async def test_process_sees_only_its_own_environment(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    seen: Mapping[str, str] = await printed(
        runtime, tmp_path, "dict(os.environ)", env={"MODE": "x y"}
    )

    own = set(seen) - {"LC_CTYPE"}  # Python itself may add this one
    assert own == {"PATH", "LANG", "HOME", "TMPDIR", "WHO", "MODE"}
    assert (seen["WHO"], seen["MODE"]) == ("runner@demo", "x y")


async def test_socket_folder_is_relocated_but_not_that_of_a_longer_name(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    running = await runtime.start(
        make_attempt(
            "import os; print(os.environ['URLS'])",
            env={"URLS": "//cloudsql/p:r:db/app //cloudsql/p:r:db-2/app"},
            sockets={"/cloudsql/p:r:db": "/run/a", "/cloudsql/p:r:db-2": "/run/b"},
        )
    )
    await running.wait()

    assert log_of(tmp_path).strip() == "//run/a/app //run/b/app"


async def test_temporary_folder_is_removed_with_process(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    running = await runtime.start(
        make_attempt("import os, pathlib; (pathlib.Path.home() / 'file').write_text('x')")
    )
    assert await running.wait() == AttemptExit()
    assert folders(tmp_path, "*/scratch/file")

    running.discard()
    await eventually(lambda: not folders(tmp_path, "*"))


async def test_process_starts_in_project_as_session_leader(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    expression = "[os.getcwd(), os.getsid(0) == os.getpid(), sys.stdin.read()]"

    assert await printed(runtime, tmp_path, expression) == [str(Path.cwd()), True, ""]


async def test_output_is_logged_by_line(
    runtime: ProcessRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = "import sys; print('one'); print('two', file=sys.stderr); print('é', end='')"
    await ended(runtime, source, env={"PYTHONUNBUFFERED": "1"})

    name = "demo-abcde-task0-0"
    assert caplog.messages == [f"{name} | one", f"{name} | two", f"{name} | é"]


async def test_log_file_is_bounded(runtime: ProcessRuntime, tmp_path: Path) -> None:
    source = "import os; [os.write(1, b'x' * 65535 + b'\\n') for _ in range(200)]"

    assert await ended(runtime, source) == AttemptExit()
    size = (tmp_path / "logs/demo-abcde/task0-0.log").stat().st_size
    assert supervisor.LONGEST_LOG <= size < supervisor.LONGEST_LOG + 100


async def test_running_attempt_is_adopted_after_restart(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    attempt = make_attempt(
        """
        import pathlib, sys, time
        print("ready", flush=True)
        while not (pathlib.Path.home() / "go").exists():
            time.sleep(0.01)
        sys.exit(4)
        """
    )
    await runtime.start(attempt)
    await eventually(lambda: log_of(tmp_path))
    later = make_runtime(tmp_path)
    await later.open({attempt.name})
    adopted = await later.adopt(attempt)

    assert adopted is not None
    (tmp_path / "runtimes" / attempt.name / "scratch/go").touch()
    assert await adopted.wait() == AttemptExit(code=4)


async def test_ended_attempt_is_adopted_after_restart(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    attempt = make_attempt("raise SystemExit(6)")
    await (await runtime.start(attempt)).wait()
    adopted = await make_runtime(tmp_path).adopt(attempt)

    assert adopted is not None
    assert await adopted.wait() == AttemptExit(code=6)


async def test_attempt_never_started_is_not_adopted(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    attempt = make_attempt()
    (tmp_path / "runtimes" / attempt.name).mkdir()

    assert await runtime.adopt(attempt) is None


async def test_killed_supervisor_ends_its_task(runtime: ProcessRuntime, tmp_path: Path) -> None:
    running = await runtime.start(make_attempt(IGNORES_SIGTERM))
    child = int(await eventually(lambda: log_of(tmp_path)))
    os.kill(supervisor_of(tmp_path), signal.SIGKILL)

    assert await running.wait() == AttemptExit(lost=True)
    await eventually(lambda: not alive(child))


async def test_unneeded_attempts_are_removed_on_open(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    await runtime.start(make_attempt(IGNORES_SIGTERM))
    child = int(await eventually(lambda: log_of(tmp_path)))

    await make_runtime(tmp_path).open(keep=set())

    await eventually(lambda: not alive(child))
    assert not folders(tmp_path, "*")


async def test_close_ends_and_removes_attempts(runtime: ProcessRuntime, tmp_path: Path) -> None:
    attempt = make_attempt(IGNORES_SIGTERM)
    await runtime.start(attempt)
    child = int(await eventually(lambda: log_of(tmp_path)))
    await runtime.close()

    await eventually(lambda: not alive(child))
    assert await make_runtime(tmp_path).adopt(attempt) is None


async def test_full_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "runtimes").write_text("in the way")

    with pytest.raises(AttemptNotStarted, match="demo-abcde-task0-0"):
        await make_runtime(tmp_path).start(make_attempt())


async def test_files_of_a_mount_are_found_through_variables_and_arguments(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """A process has the file system of this machine, so paths below a mount are put in place."""
    given = {
        "env": {"KEY": "/secrets/key", "OTHER": "/secretsx"},
        "files": {"/secrets": {"key": b"k"}},
    }
    values = "[open(os.environ['KEY']).read(), os.environ['OTHER']]"

    assert await printed(runtime, tmp_path, values, **given) == ["k", "/secretsx"]


async def test_lines_are_told_with_their_stream(runtime: ProcessRuntime) -> None:
    told: list[tuple[str, str]] = []
    runtime.on_lines = lambda _attempt, lines: told.extend(
        (stream.name, line) for stream, line in lines
    )
    source = """
        import os
        for number in range(300):
            os.write(1, b"o" * number + b"\\n")
            os.write(2, b"e" * number + b"\\n")
        os.write(1, b"open")
        os._exit(3)
    """
    await ended(runtime, source)

    whole = ["x" * number for number in range(1, 300)]
    assert [line.replace("e", "x") for stream, line in told if stream == "STDERR"] == whole
    output = [line.replace("o", "x") for stream, line in told if stream == "STDOUT"]
    assert output == [*whole, "xpen"]
    assert told[-1] == ("SYSTEM", "Container called exit(3).")
