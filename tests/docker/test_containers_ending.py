"""How containers end, and what is said of it; hostile and unlucky ones."""

import threading
import time

import pytest

from containers import Exit
from tests.docker.room import MIB, Room, log_of, room, until_it_says

__all__ = ["room"]

DEAF = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("source", "ended"),
    [
        ("pass", Exit()),
        ("raise SystemExit(3)", Exit(code=3)),
        ("raise SystemExit(255)", Exit(code=255)),
        ("import os; os.kill(os.getpid(), 11)", Exit(signal=11)),
        ("import os; os.abort()", Exit(signal=6)),
    ],
)
def test_its_code_or_its_signal_is_told(room: Room, source: str, ended: Exit) -> None:
    assert room.run(source).exit == ended


def test_a_program_that_is_not_there_is_told_by_its_code(room: Room) -> None:
    assert room.run("", command=("/no/such/program",)).exit == Exit(code=127)


def test_too_much_memory_is_told_from_a_signal(room: Room) -> None:
    ran = room.run("hoard = bytearray(200 * 2**20)")

    assert ran.exit == Exit(signal=9, out_of_memory=True)


@pytest.mark.parametrize("code", [0, 5])
def test_a_child_that_took_too_much_memory_is_told_too(room: Room, code: int) -> None:
    source = f"""
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "hoard = bytearray(200 * 2**20)"])
        raise SystemExit({code})
    """

    assert room.run(source).exit == Exit(code=code, child_out_of_memory=True)


def test_a_fork_bomb_stays_in_its_container(room: Room) -> None:
    bomb = """
        import os, time
        children = 0
        try:
            while True:
                if not os.fork():
                    time.sleep(30)
                children += 1
        except BlockingIOError:
            print(children, flush=True)
    """

    ran = room.run(bomb, pids=40)

    assert ran.exit == Exit()
    assert 30 <= int(ran.log) < 40


def test_a_writer_of_ten_gigabytes_finds_its_disk_full(room: Room) -> None:
    writer = """
        import errno
        try:
            with open("/tmp/big", "wb") as file:
                for _ in range(10 * 1024):
                    file.write(bytes(2**20))
        except OSError as error:
            print(errno.errorcode[error.errno])
    """

    ran = room.run(writer, scratch_bytes=16 * MIB)

    assert ran.log == "ENOSPC"


def test_who_listens_to_sigterm_ends_as_it_wants(room: Room) -> None:
    polite = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("ready", flush=True)
        time.sleep(60)
    """
    with room.running(polite) as container:
        until_it_says(container, "ready")
        container.terminate(grace=10)

        assert container.wait() == Exit(code=7, terminated=True)


def test_who_is_deaf_to_sigterm_is_killed(room: Room) -> None:
    with room.running(DEAF) as container:
        until_it_says(container, "deaf")
        began = time.monotonic()
        container.terminate(grace=1)

        assert container.wait() == Exit(signal=9, terminated=True)
        assert time.monotonic() - began < 10


def test_to_end_what_has_ended_changes_nothing(room: Room) -> None:
    with room.running("pass") as container:
        container.wait()
        container.terminate(grace=10)

        assert container.wait() == Exit()


def test_it_runs_until_it_has_ended(room: Room) -> None:
    with room.running("import time; time.sleep(60)") as container:
        assert container.exit() is None
        container.terminate(grace=5)
        assert container.exit() == Exit(signal=15, terminated=True)


def test_what_somebody_removed_is_lost(room: Room) -> None:
    with room.running("import time; time.sleep(60)") as container:
        waiting: list[Exit] = []
        wait = threading.Thread(target=lambda: waiting.append(container.wait()))
        wait.start()
        room.api.remove_container(container.id, force=True)
        wait.join(20)

    assert waiting == [Exit(lost=True)]


def test_lines_are_told_while_it_runs(room: Room) -> None:
    with room.running("import time; print('first'); time.sleep(60)") as container:
        until_it_says(container, "first")

        assert container.exit() is None
        container.terminate(grace=0)


def test_a_long_log_is_cut_and_says_so(room: Room) -> None:
    with room.running("for n in range(10_000): print(n)") as container:
        container.wait()
        lines = log_of(container, most=50)

    assert lines[:3] == ["0", "1", "2"]
    assert lines[-1] == "(The log is longer than 50 bytes; the rest is left out.)"


def test_a_huge_log_does_not_fill_the_disk(room: Room) -> None:
    with room.running("for _ in range(30_000): print('x' * 1023)") as container:
        assert container.wait() == Exit()
        kept = sum(len(line) + 1 for line in log_of(container))

    assert kept <= 10 * MIB


def test_a_log_that_is_no_text_is_shown_all_the_same(room: Room) -> None:
    ran = room.run(r"import sys; sys.stdout.buffer.write(b'\xff\x00\n' + b'y' * 20_000 + b'\nend')")

    lines = ran.log.split("\n")
    assert (lines[0], lines[-1]) == ("\ufffd\x00", "end")
    assert sum(map(len, lines[1:-1])) == 20_000
