"""Durable state of the emulated cloud: one SQLite file that survives `kill -9`."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from devenv.gcp.clock import Clock
from devenv.gcp.write_log import Statement, WriteLog

log = logging.getLogger(__name__)
_WRITE_AGAIN = 1.0  # seconds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS write_log (id INTEGER PRIMARY KEY, number INTEGER);
INSERT OR IGNORE INTO write_log VALUES (1, 0);
"""


class Table:
    """Named byte strings of one kind; keys sort as text."""

    def __init__(self, store: "Store", name: str) -> None:
        self._store = store
        self._name = name
        store.execute(
            f"CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"
        )

    def put(self, key: str, value: bytes) -> None:
        """Write `value`, replacing what was there."""
        self._store.write(
            f"INSERT INTO {self._name} VALUES (?, ?) "  # noqa: S608 - our own table name
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, or None."""
        sql = f"SELECT value FROM {self._name} WHERE key = ?"  # noqa: S608
        row = self._store.execute(sql, (key,)).fetchone()
        return row[0] if row else None

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether it was there."""
        sql = f"DELETE FROM {self._name} WHERE key = ?"  # noqa: S608
        return self._store.execute(sql, (key,)).rowcount > 0

    def scan(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield (key, value) of every key that starts with `prefix`, in order."""
        sql = f"SELECT key, value FROM {self._name} WHERE key >= ? AND key < ? ORDER BY key"  # noqa: S608
        yield from self._store.execute(sql, (prefix, prefix + "\U0010ffff")).fetchall()


class Transaction:
    """Statements that are committed together at the end, or not at all if there is an exception."""

    __slots__ = ("_is_logged", "_rolled_back", "_store")

    def __init__(
        self, store: "Store", rolled_back: Callable[[], None] | None, *, is_logged: bool
    ) -> None:
        self._store = store
        self._rolled_back = rolled_back
        self._is_logged = is_logged

    def __enter__(self) -> None:
        try:
            self._store.begin(is_logged=self._is_logged)
        except sqlite3.Error:  # what its caller has changed already is undone all the same
            if self._rolled_back:
                self._rolled_back()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._roll_back()
            return
        try:
            self._store.commit()
        except BaseException:  # for example on a full disk
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        self._store.roll_back()
        if self._rolled_back:
            self._rolled_back()


class _ReadCursor(sqlite3.Cursor):
    """A cursor whose rows have been read already."""

    def __init__(self, connection: sqlite3.Connection, rows: Iterable[Any]) -> None:
        super().__init__(connection)
        self._rows = iter(rows)

    def __next__(self) -> Any:
        return next(self._rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)


class Store:
    """A SQLite file in write-ahead mode: an acknowledged write outlives the process.

    Every statement commits by itself; `transaction()` groups several. Used from one thread, and by
    one process: locks that other processes could see would take a third of the time of a commit.

    A logged transaction does not wait for SQLite: its statements go to a log beside the file, and
    SQLite gets them in the next turn of the event loop, or before the next statement. While the disk
    is full, reads see them all the same, and only writes fail.
    """

    def __init__(self, path: Path | str, *, timeout: float = 5.0) -> None:
        """Wait up to `timeout` seconds for another process to stop. Raises OSError if it does not."""
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(
            path, timeout=timeout, isolation_level=None, check_same_thread=False
        )
        self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self.connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            self.connection.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise BlockingIOError(
                f"{path} is open in another process: stop the emulator that has it."
            ) from error
        self.connection.execute("PRAGMA synchronous = NORMAL")
        # Only a checkpoint waits for the disk, and everybody with it: one for each 16 MB.
        self.connection.execute("PRAGMA wal_autocheckpoint = 4000")
        self._collected: list[Statement] | None = None  # of the logged transaction that goes on
        self._waiting: Sequence[Statement] = ()  # in the log, and not in the database
        self._log = None if path == ":memory:" else WriteLog(Path(f"{path}-log"))
        self.connection.executescript(_SCHEMA)
        (self._number,) = self.connection.execute("SELECT number FROM write_log").fetchone()
        if self._log and (waiting := self._log.read(self._number + 1)):
            self._number, self._waiting = self._number + 1, waiting
            self.apply()

    def table(self, name: str) -> Table:
        """Return the table `name`, made if it is new."""
        return Table(self, name)

    def transaction(
        self, rolled_back: Callable[[], None] | None = None, *, is_logged: bool = False
    ) -> Transaction:
        """Commit everything inside, or nothing; then call `rolled_back`.

        All statements of a logged transaction are run by this object, not by its connection.
        """
        return Transaction(self, rolled_back, is_logged=is_logged)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement after all that were written before it."""
        if self._waiting:
            try:
                self.apply()
            except sqlite3.Error:
                if not sql.startswith("SELECT"):
                    raise
                return self._read_uncommitted(sql, values)
        elif self._collected is not None and (self._collected or not sql.startswith("SELECT")):
            collected, self._collected = self._collected, None
            self.connection.execute("BEGIN IMMEDIATE")
            self._run(collected)
        return self.connection.execute(sql, values)

    def write(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement whose result nobody asks for."""
        if self._collected is None:
            self.execute(sql, values)
        else:
            self._collected.append((sql, values))

    def begin(self, *, is_logged: bool) -> None:
        # SQLite knows nothing of a transaction that is logged, and would not refuse one inside it.
        if self._collected is not None or self.connection.in_transaction:
            raise RuntimeError("A transaction cannot begin inside another one.")
        if self._waiting:
            self.apply()
        if is_logged:
            self._collected = []
        else:
            self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        collected, self._collected = self._collected, None
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
        elif collected and not self._keep(collected):
            self._run_all(collected)

    def roll_back(self) -> None:
        self._collected = None
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def apply(self) -> None:
        """Give SQLite the statements that wait in the log. Raises sqlite3.Error; then they wait on."""
        if not self._waiting:
            return
        self._run_all([*self._waiting, ("UPDATE write_log SET number = ?", (self._number,))])
        self._waiting = ()

    def close(self) -> None:
        """Close the files. The log keeps for the next start what SQLite does not take."""
        self._apply_soon()
        if self._log:
            self._log.close()
        self.connection.close()

    def _keep(self, statements: list[Statement]) -> bool:
        """Write a transaction to the log; return False if SQLite must have it at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._log is None or not self._log.write(self._number + 1, statements):
            return False
        self._number += 1
        self._waiting = statements
        loop.call_soon(self._apply_soon)
        return True

    def _read_uncommitted(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        """Run a query over what waits in the log. Only a commit needs room on the disk."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            self._run(self._waiting)
            return _ReadCursor(self.connection, self.connection.execute(sql, values).fetchall())
        finally:
            self.roll_back()

    def _apply_soon(self) -> None:
        """Give SQLite what waits, where nobody asks for the state."""
        try:
            self.apply()
        except sqlite3.Error as error:  # whoever asks for the state next gets it
            log.warning("SQLite has not taken the last writes, which wait in its log: %s", error)

    def _run_all(self, statements: Iterable[Statement]) -> None:
        """Run statements in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            self._run(statements)
            self.connection.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise

    def _run(self, statements: Iterable[Statement]) -> None:
        for sql, values in statements:
            self.connection.execute(sql, values)


async def write_at_last(what: str, write: Callable[[], None], clock: Clock) -> None:
    """Write a change that no caller would repeat; while that fails, try again each second."""
    is_reported = False
    while True:
        try:
            return write()
        except sqlite3.Error as error:  # on a full disk, for example
            if not is_reported:
                log.warning("%s cannot be written yet: %s", what, error)
            is_reported = True
        await clock.machine_sleep(_WRITE_AGAIN)


class DeclaredNames:
    """The names of one kind that devenv.toml declared when the emulator last started."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def replace(self, names: Iterable[str]) -> list[str]:
        """Remember `names`; return those that were declared before and are not any more."""
        wanted = set(names)
        dropped = self.dropped(wanted)
        for name in dropped:
            self.forget(name)
        self.add(wanted)
        return dropped

    def dropped(self, names: Iterable[str]) -> list[str]:
        """Return the names that were declared before and are not among `names`."""
        wanted = set(names)
        return [name for name, _ in self._table.scan() if name not in wanted]

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            self._table.put(name, b"")

    def forget(self, name: str) -> None:
        self._table.delete(name)
