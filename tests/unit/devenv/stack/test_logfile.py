"""Unit tests of log files: rotation, tail, follower."""

from pathlib import Path

from devenv.stack.logfile import Follower, LogFile, tail


def test_large_log_is_rotated_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", largest=20)
    for number in range(10):
        log.write(f"line {number}")
    log.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.log", "web.log.1"]
    assert (tmp_path / "web.log").stat().st_size <= 28


def test_tail_returns_last_lines(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("one\ntwo\nthree\n")

    assert tail(tmp_path / "web.log", 2) == ["two", "three"]
    assert tail(tmp_path / "none.log", 2) == []


def test_follower_yields_only_whole_new_lines(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_text("old\n")
    follower = Follower(path)

    with path.open("a") as file:
        file.write("new\nhalf")
    assert list(follower.new_lines()) == ["new"]

    with path.open("a") as file:
        file.write(" a line\n")
    assert list(follower.new_lines()) == ["half a line"]


def test_follower_starts_over_after_rotation(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_text("a long first line\n")
    follower = Follower(path)

    path.write_text("new\n")

    assert list(follower.new_lines()) == ["new"]
