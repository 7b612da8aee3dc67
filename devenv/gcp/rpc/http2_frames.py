"""Frames of HTTP/2 (RFC 9113, section 4) and header blocks without a table (RFC 7541)."""

import struct
from asyncio import WriteTransport
from collections.abc import Iterable, Iterator
from enum import IntEnum

_HEAD = struct.Struct(">HBBBI")  # the length in two parts, kind, flags, stream
_LARGEST_WINDOW = 2**31 - 1
_LARGEST_BATCH = 1 << 16


class Frame(IntEnum):
    """The kinds of frames; PRIORITY (2) has no effect."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag:
    """The flags of frames; ACK is for other kinds than END_STREAM. Plain numbers: each frame asks for some."""

    END_STREAM = 0x1
    ACK = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Code(IntEnum):
    """The codes of errors that we send."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ProtocolFault(Exception):
    """Raised when a client breaks the protocol; its connection ends with `code`."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameWriter:
    """Frames on their way to a client. Those that are written inside go together, as a batch.

    A transport counts all that waits in it with each write: many small ones would take for ever.
    """

    def __init__(self, transport: WriteTransport) -> None:
        self._transport = transport
        self._batch: bytearray | None = None

    def __enter__(self) -> None:
        self._batch = bytearray()

    def __exit__(self, *_: object) -> None:
        batch, self._batch = self._batch, None
        if batch:
            self._transport.write(batch)

    def write(self, data: bytes) -> None:
        if self._batch is None:
            self._transport.write(data)
            return
        self._batch += data
        if len(self._batch) > _LARGEST_BATCH:  # the client may not fetch it
            self._transport.write(self._batch)
            self._batch = bytearray()


def frame(kind: int, flags: int, stream: int, payload: bytes | bytearray = b"") -> bytes:
    """Return a frame. `payload` is not longer than the receiver takes."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def frames_in(data: bytes, start: int, limit: int) -> Iterator[tuple[int, int, int, bytes, int]]:
    """Yield kind, flags, stream, payload and end of each whole frame from `start` on.

    Raises ProtocolFault for one that is longer than `limit`.
    """
    while len(data) - start >= _HEAD.size:
        high, low, kind, flags, stream = _HEAD.unpack_from(data, start)
        size = high << 8 | low
        if size > limit:
            raise ProtocolFault(Code.FRAME_SIZE_ERROR, f"A frame of {size} bytes.")
        start += _HEAD.size
        if len(data) - start < size:
            return
        yield kind, flags, stream & 0x7FFFFFFF, data[start : start + size], start + size
        start += size


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return the payload of DATA or HEADERS without its padding. Raises ProtocolFault."""
    if not flags & Flag.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolFault(Code.PROTOCOL_ERROR, "The padding is longer than the frame.")
    return payload[1 : len(payload) - payload[0]]


def window_of(window: int, change: int) -> int:
    """Return a window after a change of its size. Raises ProtocolFault for one that is too large."""
    if window + change > _LARGEST_WINDOW:
        raise ProtocolFault(Code.FLOW_CONTROL_ERROR, "A window of more than 2 GiB.")
    return window + change


def header_frames(stream: int, block: bytes, limit: int, flags: int = 0) -> Iterator[bytes]:
    """Yield HEADERS and, for a long block, CONTINUATION frames."""
    if len(block) <= limit:
        yield frame(Frame.HEADERS, flags | Flag.END_HEADERS, stream, block)
        return
    yield frame(Frame.HEADERS, flags, stream, block[:limit])
    for start in range(limit, len(block), limit):
        last = Flag.END_HEADERS if start + limit >= len(block) else 0
        yield frame(Frame.CONTINUATION, last, stream, block[start : start + limit])


def header_block(*headers: tuple[str, str]) -> bytes:
    """Return a header block of literals that go into no table (RFC 7541, section 6.2.2)."""
    return b"".join(
        b"\x00" + _text(name.encode("latin-1")) + _text(value.encode("latin-1"))
        for name, value in headers
    )


def _text(value: bytes) -> bytes:
    """Return a length with a 7-bit prefix, and the value."""
    size = len(value)
    if size < 127:
        return bytes((size,)) + value
    encoded = bytearray((127,))
    size -= 127
    while size >= 128:
        encoded.append(size % 128 + 128)
        size //= 128
    encoded.append(size)
    return bytes(encoded) + value


def joined_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name; the values of a repeated one are joined as HTTP and gRPC say.

    Raises ProtocolFault for a repeated pseudo-header.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            if name.startswith(":"):
                raise ProtocolFault(Code.PROTOCOL_ERROR, f"{name} is repeated")
            value = f"{headers[name]}{'; ' if name == 'cookie' else ','}{value}"
        headers[name] = value
    return headers
