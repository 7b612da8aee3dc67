"""The file of the emulated cloud's state, and the log beside it."""

import asyncio
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from devenv.gcp.store import Store, Table
from devenv.gcp.write_log import WriteLog

pytestmark = pytest.mark.anyio


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[], Path]:
    """Return a function that copies the files as `kill -9` would leave them."""

    def made() -> Path:
        target = tmp_path / "killed"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in tmp_path.glob("state.sqlite3*"):
            shutil.copy(path, target / path.name)
        return target / "state.sqlite3"

    return made


def put_logged(store: Store, table: Table, *keys: str) -> None:
    with store.transaction(is_logged=True):
        for key in keys:
            table.put(key, key.encode())


def keys_in(path: Path) -> list[str]:
    with closing(Store(path)) as store:
        return [key for key, _ in store.table("things").scan()]


def in_database(store: Store) -> list[str]:
    """Return what SQLite has, whatever waits in the log."""
    return [key for (key,) in store.connection.execute("SELECT key FROM things ORDER BY key")]


def test_second_store_of_one_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    with closing(Store(path)), pytest.raises(OSError, match=r"state\.sqlite3 is open in another"):
        Store(path, timeout=0.01)
    Store(path).close()


async def test_logged_transaction_is_there_after_a_kill(
    tmp_path: Path, copy: Callable[[], Path]
) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        table = store.table("things")
        put_logged(store, table, "a", "b")
        assert in_database(store) == []
        assert keys_in(copy()) == ["a", "b"]
        await asyncio.sleep(0)
        assert in_database(store) == ["a", "b"]
        assert keys_in(copy()) == ["a", "b"]


async def test_logged_statements_are_applied_once(tmp_path: Path, copy: Callable[[], Path]) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        store.execute("CREATE TABLE counted (id INTEGER PRIMARY KEY)")
        for _ in range(3):
            with store.transaction(is_logged=True):
                store.write("INSERT INTO counted DEFAULT VALUES")
            killed = copy()
            store.apply()
            again = copy()
            for path in (killed, again):
                with closing(Store(path)) as other:
                    (found,) = other.execute("SELECT count(*) FROM counted").fetchone()
                    (mine,) = store.execute("SELECT count(*) FROM counted").fetchone()
                    assert found == mine


async def test_statement_sees_what_was_written_before_it(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        table = store.table("things")
        put_logged(store, table, "a")
        assert table.get("a") == b"a"
        put_logged(store, table, "b")
        table.put("b", b"later")
        assert table.get("b") == b"later"
        with store.transaction(is_logged=True):
            table.put("c", b"c")
            assert table.delete("c")
            assert table.get("c") is None


@pytest.mark.parametrize("asks", [False, True])
async def test_failed_transaction_leaves_nothing(tmp_path: Path, asks: bool) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        table = store.table("things")

        def fail() -> None:
            with store.transaction(is_logged=True):
                table.put("a", b"")
                if asks:
                    table.get("a")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        put_logged(store, table, "b")
    assert keys_in(tmp_path / "state.sqlite3") == ["b"]


async def test_transaction_larger_than_the_log_is_committed_at_once(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        table = store.table("things")
        put_logged(store, table, "a")
        with store.transaction(is_logged=True):
            table.put("b", bytes(2 << 20))
        assert in_database(store) == ["a", "b"]


@contextmanager
def full_disk(store: Path) -> Iterator[None]:
    """Let no file of this process grow beyond the store's."""
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = Path(f"{store}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))


async def test_reads_see_what_waits_in_the_log_while_the_disk_is_full(
    tmp_path: Path, copy: Callable[[], Path]
) -> None:
    path = tmp_path / "state.sqlite3"
    with closing(Store(path)) as store:
        table = store.table("things")
        table.put("before", b"")
        with full_disk(path):
            put_logged(store, table, "a", "b")
            await asyncio.sleep(0)
            assert table.get("a") == b"a"
            assert table.get("c") is None
            assert [key for key, _ in table.scan()] == ["a", "b", "before"]
            assert [key for (key,) in store.execute("SELECT key FROM things")] == [
                *("a", "b", "before")
            ]
            with pytest.raises(sqlite3.OperationalError):
                table.put("c", b"")
            with pytest.raises(sqlite3.OperationalError):
                put_logged(store, table, "d")
        assert in_database(store) == ["before"]
        assert keys_in(copy()) == ["a", "b", "before"]
        assert table.get("a") == b"a"
        assert in_database(store) == ["a", "b", "before"]


async def test_close_leaves_in_the_log_what_sqlite_refuses(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        table = store.table("things")
        store.connection.execute("PRAGMA query_only = ON")
        put_logged(store, table, "a")
    assert keys_in(tmp_path / "state.sqlite3") == ["a"]


@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize("inner", [False, True])
async def test_transaction_inside_another_is_refused(
    tmp_path: Path, outer: bool, inner: bool
) -> None:
    with closing(Store(tmp_path / "state.sqlite3")) as store:
        table = store.table("things")

        def nest() -> None:
            with store.transaction(is_logged=outer):
                table.put("a", b"")
                with store.transaction(is_logged=inner):
                    table.put("b", b"")

        with pytest.raises(RuntimeError, match="inside another"):
            nest()
        put_logged(store, table, "c")
    assert keys_in(tmp_path / "state.sqlite3") == ["c"]


@pytest.mark.parametrize("at", [0, 9, 20, 60])
def test_damaged_record_is_not_read(tmp_path: Path, at: int) -> None:
    path = tmp_path / "log"
    with closing(WriteLog(path)) as log:
        assert log.write(1, [("first", (1, b"\x00" * 50))])
        assert log.read(1)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with closing(WriteLog(path)) as log:
        assert not log.read(1)
