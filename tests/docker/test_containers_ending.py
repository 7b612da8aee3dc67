"""Exits and logs of containers, including hostile and failing ones."""

import threading

import pytest

from containers import ContainerExit
from tests.docker.room import MIB, Room, log_of, room, until_it_says
from tests.waiting import LIMIT

__all__ = ["room"]

IGNORES_SIGTERM = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("source", "ended"),
    [
        ("pass", ContainerExit()),
        ("raise SystemExit(3)", ContainerExit(code=3)),
        ("raise SystemExit(255)", ContainerExit(code=255)),
        ("import os; os.kill(os.getpid(), 11)", ContainerExit(signal=11)),
        ("import os; os.abort()", ContainerExit(signal=6)),
    ],
)
def test_exit_has_code_or_signal(room: Room, source: str, ended: ContainerExit) -> None:
    assert room.run(source).exit == ended


def test_missing_program_exits_with_127(room: Room) -> None:
    assert room.run("", command=("/no/such/program",)).exit == ContainerExit(code=127)


def test_out_of_memory_is_distinguished_from_sigkill(room: Room) -> None:
    ran = room.run("hoard = bytearray(200 * 2**20)")

    assert ran.exit == ContainerExit(signal=9, out_of_memory=True)


@pytest.mark.parametrize("code", [0, 5])
def test_child_out_of_memory_is_reported(room: Room, code: int) -> None:
    source = f"""
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "hoard = bytearray(200 * 2**20)"])
        raise SystemExit({code})
    """

    assert room.run(source).exit == ContainerExit(code=code, child_out_of_memory=True)


def test_fork_bomb_is_contained(room: Room) -> None:
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

    assert ran.exit == ContainerExit()
    assert 30 <= int(ran.log) < 40


def test_large_write_finds_disk_full(room: Room) -> None:
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


def test_sigterm_handler_decides_exit_code(room: Room) -> None:
    polite = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("ready", flush=True)
        time.sleep(600)
    """
    with room.running(polite) as container:
        until_it_says(container, "ready")
        container.terminate(grace=LIMIT)

        assert container.wait() == ContainerExit(code=7, terminated=True)


def test_ignored_sigterm_is_followed_by_sigkill(room: Room) -> None:
    with room.running(IGNORES_SIGTERM) as container:
        until_it_says(container, "ready")
        container.terminate(grace=1)

        assert container.wait() == ContainerExit(signal=9, terminated=True)


def test_terminate_after_exit_does_nothing(room: Room) -> None:
    with room.running("pass") as container:
        container.wait()
        container.terminate(grace=LIMIT)

        assert container.wait() == ContainerExit()


def test_exit_is_none_while_running(room: Room) -> None:
    with room.running("import time; time.sleep(600)") as container:
        assert container.exit() is None
        container.terminate(grace=LIMIT)
        assert container.exit() == ContainerExit(signal=15, terminated=True)


def test_removed_container_is_lost(room: Room) -> None:
    with room.running("import time; time.sleep(600)") as container:
        waiting: list[ContainerExit] = []
        wait = threading.Thread(target=lambda: waiting.append(container.wait()))
        wait.start()
        room.api.remove_container(container.id, force=True)
        wait.join(LIMIT)

    assert waiting == [ContainerExit(lost=True)]


def test_log_lines_arrive_while_running(room: Room) -> None:
    with room.running("import time; print('first'); time.sleep(600)") as container:
        until_it_says(container, "first")

        assert container.exit() is None
        container.terminate(grace=0)


def test_long_log_is_cut_with_notice(room: Room) -> None:
    with room.running("for n in range(10_000): print(n)") as container:
        container.wait()
        lines = log_of(container, most=50)

    assert lines[:3] == ["0", "1", "2"]
    assert lines[-1] == "(The log is longer than 50 bytes; the rest is omitted.)"


def test_huge_log_does_not_fill_disk(room: Room) -> None:
    with room.running("for _ in range(30_000): print('x' * 1023)") as container:
        assert container.wait() == ContainerExit()
        kept = sum(len(line) + 1 for line in log_of(container))

    assert kept <= 10 * MIB


def test_binary_log_is_decoded_with_replacement(room: Room) -> None:
    ran = room.run(r"import sys; sys.stdout.buffer.write(b'\xff\x00\n' + b'y' * 20_000 + b'\nend')")

    lines = ran.log.split("\n")
    assert (lines[0], lines[-1]) == ("\ufffd\x00", "end")
    assert sum(map(len, lines[1:-1])) == 20_000
