"""Durable state of the emulated cloud: one SQLite file that survives `kill -9`."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


class Table:
    """Named byte strings of one kind; keys sort as text."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"
        )

    def put(self, key: str, value: bytes) -> None:
        """Write `value`, replacing what was there."""
        self._connection.execute(
            f"INSERT INTO {self._name} VALUES (?, ?) "  # noqa: S608 - our own table name
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, or None."""
        sql = f"SELECT value FROM {self._name} WHERE key = ?"  # noqa: S608
        row = self._connection.execute(sql, (key,)).fetchone()
        return row[0] if row else None

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether it was there."""
        sql = f"DELETE FROM {self._name} WHERE key = ?"  # noqa: S608
        return self._connection.execute(sql, (key,)).rowcount > 0

    def scan(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield (key, value) of every key that starts with `prefix`, in order."""
        sql = f"SELECT key, value FROM {self._name} WHERE key >= ? AND key < ? ORDER BY key"  # noqa: S608
        yield from self._connection.execute(sql, (prefix, prefix + "\U0010ffff")).fetchall()


class Transaction:
    """Statements that are committed together at the end, or not at all if there is an exception."""

    __slots__ = ("_connection", "_rolled_back")

    def __init__(
        self, connection: sqlite3.Connection, rolled_back: Callable[[], None] | None
    ) -> None:
        self._connection = connection
        self._rolled_back = rolled_back

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._roll_back()
            return
        try:
            self._connection.execute("COMMIT")
        except BaseException:  # for example on a full disk
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if self._rolled_back:
            self._rolled_back()


class Store:
    """A SQLite file in write-ahead mode: an acknowledged write outlives the process.

    Every statement commits by itself; `transaction()` groups several. Used from one thread, and by
    one process: locks that other processes could see would take a third of the time of a commit.
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

    def table(self, name: str) -> Table:
        """Return the table `name`, made if it is new."""
        return Table(self.connection, name)

    def transaction(self, rolled_back: Callable[[], None] | None = None) -> "Transaction":
        """Commit everything inside, or nothing; then call `rolled_back`."""
        return Transaction(self.connection, rolled_back)

    def close(self) -> None:
        self.connection.close()


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
