"""What a TLS client offers, read from its first message without answering it (RFC 8446, 7301)."""

from collections.abc import Iterator

_HANDSHAKE = 22
_ALPN = 16


class _Reader:
    """Length-prefixed fields, as TLS nests them. Raises IndexError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise IndexError
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """Return what follows a length of `size` bytes."""
        return self.take(self.number(size))

    @property
    def empty(self) -> bool:
        return self._position == len(self._data)


def missing(data: bytes) -> int:
    """Return how many bytes the first TLS record lacks; 0 also if it is no handshake at all."""
    if not data or data[0] != _HANDSHAKE:
        return 0
    if len(data) < 5:
        return 5 - len(data)
    return max(0, 5 + int.from_bytes(data[3:5]) - len(data))


def wants_only_h2(data: bytes) -> bool:
    """Return whether the ClientHello in `data` offers HTTP/2 and nothing else, as gRPC does.

    curl and browsers offer HTTP/1.1 too; they are served that.
    """
    try:
        offered = set(_protocols(data))
    except IndexError:
        return False
    return b"h2" in offered and not offered & {b"http/1.1", b"http/1.0"}


def _protocols(data: bytes) -> Iterator[bytes]:
    record = _Reader(data)
    record.take(3)
    message = _Reader(record.vector(2))
    message.take(4)  # type and length
    message.take(2 + 32)  # version and random
    message.vector(1)  # session id
    message.vector(2)  # cipher suites
    message.vector(1)  # compression
    extensions = _Reader(message.vector(2))
    while not extensions.empty:
        kind, content = extensions.number(2), _Reader(extensions.vector(2))
        if kind == _ALPN:
            names = _Reader(content.vector(2))
            while not names.empty:
                yield names.vector(1)
