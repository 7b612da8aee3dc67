"""Child processes: their lines, their groups, their ends."""

import asyncio
import os
import signal
import time
from pathlib import Path

from devenv.stack.process import LONGEST_LINE, Lines, Process, how_it_ended


def run(script: str, *, stop: bool = False, within: float = 5.0) -> tuple[int, list[str]]:
    lines: list[str] = []
    spoke = asyncio.Event()

    def write(line: str) -> None:
        lines.append(line)
        spoke.set()

    async def main() -> int:
        process = await Process.start(
            ("sh", "-c", script),
            environ=dict(os.environ),  # noqa: TID251 - the child needs a PATH
            folder=Path.cwd(),
            stop_signal=signal.SIGTERM,
            write=write,
        )
        if stop:
            await spoke.wait()
            await process.stop(signal.SIGTERM, within=within)
        return await process.wait()

    return asyncio.run(main()), lines


def test_output_and_errors_arrive_as_lines() -> None:
    assert run("echo one; echo two >&2; printf three; exit 4") == (4, ["one", "two", "three"])


def test_a_grandchild_that_holds_the_output_does_not_delay_the_end() -> None:
    began = time.monotonic()

    code, lines = run("sleep 20 & echo pid $!; exit 3")

    assert (code, time.monotonic() - began < 5) == (3, True)
    assert is_gone(int(lines[0].split()[1]))


def test_stop_is_polite_first() -> None:
    code, lines = run("trap 'echo bye; exit 0' TERM; echo up; sleep 20 & wait", stop=True)

    assert (code, lines) == (0, ["up", "bye"])


def test_stop_kills_who_does_not_listen() -> None:
    code, _ = run("trap '' TERM; echo up; sleep 20 & wait; wait", stop=True, within=0.2)

    assert code == -signal.SIGKILL


def test_a_line_without_an_end_is_cut() -> None:
    lines: list[str] = []
    feed = Lines(lines.append)

    feed.feed(b"x" * (LONGEST_LINE + 5))
    feed.feed(b"y\xff\r\n")

    assert [len(line) for line in lines] == [LONGEST_LINE, 7]
    assert lines[1] == "xxxxxy\N{REPLACEMENT CHARACTER}"


def test_ends_are_told_in_words() -> None:
    assert how_it_ended(1) == "exited with 1"
    assert how_it_ended(-9) == "was killed by SIGKILL"


def is_gone(pid: int) -> bool:
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_child_that_is_called_off_while_it_starts_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        starting = asyncio.create_task(
            Process.start(
                ("sh", "-c", "sleep 0.2; touch lives"),
                environ={"PATH": "/usr/bin:/bin"},
                folder=tmp_path,
                stop_signal=signal.SIGTERM,
                write=lambda _: None,
            )
        )
        await asyncio.sleep(0.001)
        starting.cancel()
        await asyncio.wait({starting})

    asyncio.run(main())
    time.sleep(0.3)

    assert not (tmp_path / "lives").exists()
