"""Unit tests of log files: rotation, tail, follower."""

from pathlib import Path

from devenv.stack.logfile import Follower, LogFile, read, tail


def test_large_log_is_rotated_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", largest=20)
    for number in range(10):
        log.write(f"line {number}")
    log.close()

    assert sorted(path.name for path in tmp_path.glob("*.log*")) == ["web.log", "web.log.1"]
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


def test_lines_are_found_by_the_second_they_were_written(tmp_path: Path) -> None:
    path, now = tmp_path / "web.log", [100.0]
    log = LogFile(path, largest=30, clock=lambda: now[0])
    for second in (100.0, 101.2, 101.9, 103.0, 104.0):
        now[0] = second
        log.write(f"at {second} é")
    log.close()

    assert path.with_name("web.log.1").exists()
    assert list(read(path, since=101.9)) == ["at 101.2 é", "at 101.9 é", "at 103.0 é", "at 104.0 é"]
    assert list(read(path, since=103.0)) == ["at 103.0 é", "at 104.0 é"]
    assert list(read(path, since=105.0)) == []
    assert list(read(tmp_path / "none.log", since=1.0)) == []
