"""A log of statements that SQLite has not committed yet; it survives `kill -9`.

A commit writes each page that it changed, while the caller waits. A record here is one copy of a few
hundred bytes into a file that is mapped into memory: the system has it, whatever becomes of the
process. Records are numbered; the database knows the number of the last one that it has, so each is
applied exactly once.
"""

import marshal
import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, TypeAlias

Statement: TypeAlias = tuple[str, Sequence[Any]]

_SIZE = 1 << 20
_HEAD = Struct("<QII")  # number, length and checksum of a record


class WriteLog:
    """The file. It never grows: its records are written over once the database has them."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if it is new. Raises OSError, for example on a full disk."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            # A mapped page without a place on the disk would end the process when the disk is full.
            file.write(bytes(max(0, _SIZE - size)))
            file.flush()
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._end = 0

    def add(self, number: int, statements: Sequence[Statement]) -> bool:
        """Keep the statements of one transaction; return False if they have no room."""
        data = marshal.dumps(list(statements))
        begin = self._end + _HEAD.size
        if begin + len(data) > _SIZE:
            return False
        self._map[begin : begin + len(data)] = data
        _HEAD.pack_into(self._map, self._end, number, len(data), _checksum(number, data))
        self._end = begin + len(data)
        return True

    def after(self, number: int) -> Iterator[tuple[int, Sequence[Statement]]]:
        """Yield the whole records that follow record `number`, with their numbers."""
        at = 0
        while at + _HEAD.size <= _SIZE:
            found, length, checksum = _HEAD.unpack_from(self._map, at)
            data = self._map[at + _HEAD.size : at + _HEAD.size + length]
            if found != number + 1 or len(data) != length or _checksum(found, data) != checksum:
                return
            yield found, marshal.loads(data)  # noqa: S302 - the file is our own
            number, at = found, at + _HEAD.size + length

    def clear(self) -> None:
        """Begin at the start again; the database has all records."""
        self._end = 0

    def close(self) -> None:
        self._map.close()


def _checksum(number: int, data: bytes) -> int:
    return zlib.crc32(data, number & 0xFFFF_FFFF)
