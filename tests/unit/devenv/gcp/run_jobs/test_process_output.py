"""Output of processes that write huge lines, no text, no line end, or after the end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devenv.gcp.run_jobs.runtimes.base import (
    LONGEST_LINE,
    AttemptExit,
    OutputLine,
    OutputStream,
)
from devenv.gcp.run_jobs.runtimes.process import ProcessRuntime
from tests.unit.devenv.gcp.run_jobs.processes import (
    make_attempt,
    make_runtime,
)

pytestmark = pytest.mark.anyio
OUT, ERR, OWN = OutputStream


class ProcessOutput:
    """Runs Python source as a task; `lines` are what those who keep lines get."""

    def __init__(self, runtime: ProcessRuntime) -> None:
        self.runtime = runtime
        self.lines: list[OutputLine] = []
        runtime.on_lines = lambda _attempt, lines: self.lines.extend(lines)

    async def of(self, source: str, *, ends: AttemptExit | None = None) -> list[OutputLine]:
        running = await self.runtime.start(make_attempt(source))
        assert await running.wait() == (ends or AttemptExit())
        return self.lines


@pytest.fixture
async def output(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ProcessOutput]:
    runtime = make_runtime(tmp_path)
    await runtime.open(set())
    yield ProcessOutput(runtime)
    await runtime.close()


async def test_long_line_is_whole_although_the_other_stream_writes(output: ProcessOutput) -> None:
    source = """
    import os
    os.write(1, b"x" * 100_000)
    os.write(2, b"error\\n")
    os.write(1, b"x" * 100_000 + b"\\n")
    """

    assert set(await output.of(source)) == {(ERR, "error"), (OUT, "x" * 200_000)}


async def test_huge_line_comes_in_pieces_without_loss(output: ProcessOutput) -> None:
    lines = await output.of("import os; os.write(1, b'x' * 700_000 + b'\\nnext')")

    assert [len(text) for _, text in lines] == [LONGEST_LINE, LONGEST_LINE, 208_480, 4]
    assert lines[-1] == (OUT, "next")


async def test_binary_and_missing_line_end_are_kept(output: ProcessOutput) -> None:
    lines = await output.of("import os; os.write(2, bytes(range(9)) + b'\\xff\\n\\n\\nend')")

    assert lines == [(ERR, "\0\1\2\3\4\5\6\7\b\ufffd"), (ERR, "end")]


async def test_streams_closed_early_do_not_end_the_task(output: ProcessOutput) -> None:
    source = (
        "import os, time; os.write(1, b'a'); os.close(1); os.close(2); time.sleep(.1); os._exit(3)"
    )

    lines = await output.of(source, ends=AttemptExit(code=3))

    assert lines == [(OUT, "a"), (OWN, "Container called exit(3).")]


@pytest.mark.parametrize("session", ["False", "True"])
async def test_child_that_floods_the_pipe_does_not_hold_up_the_end(
    output: ProcessOutput, tmp_path: Path, session: str
) -> None:
    flood = "import os\nwhile True: os.write(1, b'y' * 4000 + b'\\\\n')"
    source = f"""
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", {flood!r}], start_new_session={session})
    """
    running = await output.runtime.start(make_attempt(source))

    assert await running.wait() == AttemptExit()


async def test_end_is_told_after_the_log_is_full(output: ProcessOutput) -> None:
    source = "import os; [os.write(1, b'x' * 65535 + b'\\n') for _ in range(170)]; os._exit(4)"
    lines = await output.of(source, ends=AttemptExit(code=4))

    assert lines[-2][1] == "(The log is full; the rest is not kept.)"
    assert lines[-1] == (OWN, "Container called exit(4).")


async def test_lines_in_turn_keep_their_streams(output: ProcessOutput) -> None:
    source = """
    import os
    for number in range(3000):
        os.write(1 + number % 2, b"%d\\n" % number)
    """
    lines = await output.of(source)

    assert {stream for stream, text in lines if int(text) % 2} == {ERR}
    assert {stream for stream, text in lines if not int(text) % 2} == {OUT}
    assert len(lines) == 3000
