"""The transaction that SQLite has not committed yet, in a file that survives `kill -9`.

A commit writes each page that it changed, while the caller waits. The record here is one copy of a few
hundred bytes into a file that is mapped into memory: the system has it, whatever becomes of the
process. Records are numbered; the database knows the number of the last one that it has, so each is
applied exactly once.
"""

import marshal
import mmap
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Any, TypeAlias, cast

Statement: TypeAlias = tuple[str, Sequence[Any]]

_SIZE = 1 << 20
_HEAD = Struct("<QII")  # number, length and checksum of a record


class WriteLog:
    """The file. It holds one record, which the next one overwrites."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if it is new. Raises OSError, for example on a full disk."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            # A mapped page without a place on the disk would end the process when the disk is full.
            file.write(bytes(max(0, _SIZE - size)))
            file.flush()
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def write(self, number: int, statements: Sequence[Statement]) -> bool:
        """Keep the statements of one transaction; return False if they have no room."""
        data = marshal.dumps(list(statements))
        if _HEAD.size + len(data) > _SIZE:
            return False
        self._map[_HEAD.size : _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._map, 0, number, len(data), _checksum(number, data))
        return True

    def read(self, number: int) -> Sequence[Statement]:
        """Return the statements of record `number`; none unless the file holds all of it."""
        found, length, checksum = _HEAD.unpack_from(self._map)
        data = self._map[_HEAD.size : _HEAD.size + length]
        if found != number or len(data) != length or _checksum(found, data) != checksum:
            return ()
        return cast("Sequence[Statement]", marshal.loads(data))  # noqa: S302 - the file is our own

    def close(self) -> None:
        self._map.close()


def _checksum(number: int, data: bytes) -> int:
    return zlib.crc32(data, number & 0xFFFF_FFFF)
