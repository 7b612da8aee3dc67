"""The server side of HTTP/2: frames, streams and flow control (RFC 9113), without priorities and push.

A stream is handed to a `StreamHandler` when its headers are there. Names in header blocks are read by
hpack; ours are written without a table, so that a block is a constant. A client that breaks the protocol
gets GOAWAY with the reason, and is closed.
"""

import asyncio
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, cast

from devenv.gcp.rpc.http2_frames import (
    Code,
    Flag,
    Frame,
    FrameWriter,
    ProtocolFault,
    frame,
    frames_in,
    header_frames,
    unpadded,
    window_of,
)
from devenv.gcp.rpc.http2_headers import BLOCK_LIMIT, HEADERS_LIMIT, HeaderReader, Headers

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_LIMIT = 16_384  # of both sides, until the client says that it takes longer ones
_WINDOW = 65_535  # of both sides at first
_STREAM_WINDOW = 4 << 20
_CONNECTION_WINDOW = 16 << 20
_MOST_STREAMS = 4096
# Of streams that the client takes back: so many at once, and so many in a second in the long run.
_MOST_RESETS, _RESETS_A_SECOND = 1000, 33.0
_BUFFER = 1 << 20  # bytes that the client has not fetched, from which on we read nothing more
_SETTINGS = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")
# Identifiers of settings (RFC 9113, section 6.5.2).
_TABLE_ID, _MOST_STREAMS_ID, _STREAM_WINDOW_ID, _FRAME_LIMIT_ID, _HEADERS_LIMIT_ID = 1, 3, 4, 5, 6
_NO_TABLE = b"\x20"  # at the beginning of a header block (RFC 7541, section 6.3)
_GREETING = frame(
    Frame.SETTINGS,
    0,
    0,
    _SETTINGS.pack(_MOST_STREAMS_ID, _MOST_STREAMS)
    + _SETTINGS.pack(_STREAM_WINDOW_ID, _STREAM_WINDOW)
    + _SETTINGS.pack(_HEADERS_LIMIT_ID, HEADERS_LIMIT),
) + frame(Frame.WINDOW_UPDATE, 0, 0, _NUMBER.pack(_CONNECTION_WINDOW - _WINDOW))


class StreamHandler(Protocol):
    """The receiver of one request. `reset` ends it at any time, unless its answer has ended."""

    def data(self, payload: bytes) -> None: ...
    def end(self) -> None: ...
    def reset(self) -> None: ...


class Http2Stream:
    """A request and its answer; `headers` are lower-cased, with the names that begin with `:`."""

    def __init__(self, connection: "Http2Connection", number: int, headers: Headers) -> None:
        self.number = number
        self.headers: Mapping[str, str] = headers.fields
        self.is_too_large = headers.are_too_large  # to be answered with an error
        self.handler: StreamHandler
        self.has_ended = False  # the client has sent everything
        self.window = connection.first_window
        self.out = bytearray()
        self.tail = b""
        self.room = _STREAM_WINDOW  # bytes that the client may still send
        self._connection = connection
        self._taken = 0
        self._writable: asyncio.Event | None = None

    def send(self, *, head: bytes = b"", data: bytes = b"", tail: bytes = b"") -> None:
        """Send header block, data and closing header block, as far as the client takes them now."""
        self.out += data
        self.tail = self.tail or tail
        self._connection.push(self, head)

    async def drain(self) -> None:
        """Wait until the client has taken what was sent."""
        while self.out:
            self._writable = asyncio.Event()
            await self._writable.wait()

    def take(self, size: int) -> None:
        """Let the client send so many more bytes, which have been handled."""
        self._taken += size
        if self._taken >= _STREAM_WINDOW // 2 and not self.has_ended:
            self._connection.widen(self.number, self._taken)
            self.room += self._taken
            self._taken = 0

    def wake(self) -> None:
        if self._writable:
            self._writable.set()


class Http2Connection(asyncio.Protocol):
    """A connection of one client, whose streams are handed to what `opened` returns."""

    def __init__(
        self, connections: "set[Http2Connection]", opened: Callable[[Http2Stream], StreamHandler]
    ) -> None:
        """Be one of `connections` while it is open."""
        self.first_window = _WINDOW
        self._connections = connections
        self._opened = opened
        self._unread = b""
        self._greeted = False
        self._is_leaving = False
        self._is_writable = True  # the client fetches what we write
        self._header_reader = HeaderReader()
        self._resets = _ResetBudget()
        self._streams: dict[int, Http2Stream] = {}
        self._blocked: dict[int, Http2Stream] = {}
        self._last = 0
        self._window = _WINDOW
        self._frame_limit = FRAME_LIMIT
        self._taken = 0
        self._before_headers = b""
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, headers so far
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            Frame.DATA: self._data,
            Frame.HEADERS: self._headers,
            Frame.RST_STREAM: self._reset,
            Frame.SETTINGS: self._settings,
            Frame.PUSH_PROMISE: self._push_promise,
            Frame.PING: self._ping,
            Frame.WINDOW_UPDATE: self._window_update,
            Frame.CONTINUATION: self._continuation,
        }

    def leave(self) -> None:
        """Tell the client to send no more requests; one that it sends meanwhile is refused unread."""
        self._is_leaving = True
        self._out.write(self._goaway(Code.NO_ERROR))

    def abort(self) -> None:
        self._transport.abort()

    def widen(self, number: int, size: int) -> None:
        self._out.write(frame(Frame.WINDOW_UPDATE, 0, number, _NUMBER.pack(size)))

    def push(self, stream: Http2Stream, head: bytes = b"") -> None:
        """Write what the windows allow of an answer; the rest follows when they open."""
        number = stream.number
        if number not in self._streams:
            return
        parts = [*self._header_frames(number, head)] if head else []
        while self._is_writable and stream.out:
            size = min(len(stream.out), stream.window, self._window, self._frame_limit)
            if size <= 0:
                break
            parts.append(frame(Frame.DATA, 0, number, stream.out[:size]))
            del stream.out[:size]
            stream.window -= size
            self._window -= size
        if stream.out:
            self._blocked[number] = stream
        else:
            self._blocked.pop(number, None)
            stream.wake()
            if stream.tail:
                parts += self._header_frames(number, stream.tail, Flag.END_STREAM)
                if not stream.has_ended:
                    parts.append(_reset_frame(number, Code.NO_ERROR))
                del self._streams[number]
        self._out.write(b"".join(parts))

    def _header_frames(self, number: int, block: bytes, flags: int = 0) -> Iterator[bytes]:
        block, self._before_headers = self._before_headers + block, b""
        return header_frames(number, block, self._frame_limit, flags)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._out = FrameWriter(self._transport)
        self._transport.set_write_buffer_limits(high=_BUFFER)
        self._connections.add(self)
        self._out.write(_GREETING)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():  # TLS delivers what came before the client knows
            return
        data = self._unread + data if self._unread else data
        try:
            with self._out:
                self._unread = self._parse(data)
                if self._taken >= _CONNECTION_WINDOW // 4:
                    self.widen(0, self._taken)
                    self._taken = 0
        except ProtocolFault as fault:
            self._out.write(self._goaway(fault.code, fault.reason))
            self._transport.close()

    def pause_writing(self) -> None:
        self._is_writable = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_writable = True
        self._transport.resume_reading()
        self._push_blocked()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        for stream in self._end_all():
            stream.handler.reset()

    def _end_all(self) -> Iterable[Http2Stream]:
        streams = tuple(self._streams.values())
        self._streams.clear()
        self._blocked.clear()
        return streams

    def _parse(self, data: bytes) -> bytes:
        """Handle the frames in `data`; return the beginning of the one that is not whole."""
        start = 0
        if not self._greeted:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ProtocolFault(Code.PROTOCOL_ERROR, "This is not HTTP/2.")
            if len(data) < len(PREFACE):
                return data
            self._greeted, start = True, len(PREFACE)
        for kind, flags, number, payload, end in frames_in(data, start, FRAME_LIMIT):
            start = end
            if self._block and (kind != Frame.CONTINUATION or number != self._block[0]):
                raise ProtocolFault(Code.PROTOCOL_ERROR, "A header block was not continued.")
            if handle := self._handlers.get(kind):  # others are ignored (section 5.5)
                handle(flags, number, payload)
            if self._transport.is_closing():
                return b""
        return data[start:]

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        if not 0 < number <= self._last:
            raise ProtocolFault(Code.PROTOCOL_ERROR, "DATA of a stream that was not opened.")
        self._taken += len(payload)
        if self._taken > _CONNECTION_WINDOW:
            raise ProtocolFault(Code.FLOW_CONTROL_ERROR, "More DATA than the connection's window.")
        stream = self._streams.get(number)
        if stream is None or stream.has_ended:
            return  # it has been answered or reset while this was on its way
        stream.room -= len(payload)
        if stream.room < 0:
            raise ProtocolFault(Code.FLOW_CONTROL_ERROR, "More DATA than the window of its stream.")
        content = unpadded(flags, payload)
        stream.take(len(payload) - len(content))
        stream.has_ended = bool(flags & Flag.END_STREAM)
        if content:
            stream.handler.data(content)
        if stream.has_ended and number in self._streams:
            stream.handler.end()

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        content = unpadded(flags, payload)
        if flags & Flag.PRIORITY:
            content = content[5:]
        self._block = number, flags, bytearray(content)
        if flags & Flag.END_HEADERS:
            self._open()

    def _continuation(self, flags: int, _number: int, payload: bytes) -> None:
        if self._block is None:
            raise ProtocolFault(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS.")
        self._block[2].extend(payload)
        if len(self._block[2]) > BLOCK_LIMIT:
            raise ProtocolFault(
                Code.ENHANCE_YOUR_CALM, f"Headers of more than {BLOCK_LIMIT} bytes."
            )
        if flags & Flag.END_HEADERS:
            self._open()

    def _open(self) -> None:
        """Open the stream whose header block is whole, or end one whose trailers these are."""
        assert self._block
        (number, flags, block), self._block = self._block, None
        headers = self._header_reader.read(bytes(block))
        has_ended = bool(flags & Flag.END_STREAM)
        if number % 2 == 0:
            raise ProtocolFault(Code.PROTOCOL_ERROR, "A client's streams have odd numbers.")
        if number <= self._last:
            stream = self._streams.get(number)
            if stream and has_ended and not stream.has_ended:
                stream.has_ended = True
                stream.handler.end()
            return
        self._last = number
        if self._is_leaving or len(self._streams) >= _MOST_STREAMS:
            self._out.write(_reset_frame(number, Code.REFUSED_STREAM))
            return
        stream = self._streams[number] = Http2Stream(self, number, headers)
        stream.has_ended = has_ended
        stream.handler = self._opened(stream)
        if has_ended and number in self._streams:
            stream.handler.end()

    def _reset(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolFault(Code.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes.")
        if not 0 < number <= self._last:
            raise ProtocolFault(Code.PROTOCOL_ERROR, "RST_STREAM of a stream that was not opened.")
        self._blocked.pop(number, None)
        if stream := self._streams.pop(number, None):
            stream.handler.reset()
            self._resets.take()

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ProtocolFault(Code.PROTOCOL_ERROR, "SETTINGS belong to no stream.")
        if len(payload) % _SETTINGS.size or (flags & Flag.ACK and payload):
            raise ProtocolFault(Code.FRAME_SIZE_ERROR, "SETTINGS of a wrong length.")
        if flags & Flag.ACK:
            return
        # The last value of each counts; each change of the first window changes that of all streams.
        for name, value in dict(_SETTINGS.iter_unpack(payload)).items():
            self._apply(name, value)
        self._out.write(frame(Frame.SETTINGS, Flag.ACK, 0))
        self._push_blocked()

    def _apply(self, name: int, value: int) -> None:
        if name == _TABLE_ID:
            self._before_headers = _NO_TABLE  # a smaller table must be acknowledged
        elif name == _STREAM_WINDOW_ID:
            change = window_of(0, value) - self.first_window
            self.first_window = value
            for stream in self._streams.values():
                stream.window = window_of(stream.window, change)
        elif name == _FRAME_LIMIT_ID:
            if not FRAME_LIMIT <= value < 1 << 24:
                raise ProtocolFault(Code.PROTOCOL_ERROR, f"Frames of {value} bytes.")
            self._frame_limit = value

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ProtocolFault(Code.PROTOCOL_ERROR, "A client does not push.")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ProtocolFault(Code.PROTOCOL_ERROR, "PING belongs to no stream.")
        if len(payload) != 8:
            raise ProtocolFault(Code.FRAME_SIZE_ERROR, "PING has 8 bytes.")
        if not flags & Flag.ACK:
            self._out.write(frame(Frame.PING, Flag.ACK, 0, payload))

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes.")
        size = _NUMBER.unpack(payload)[0] & 0x7FFFFFFF
        if not size or number > self._last:
            raise ProtocolFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE without effect.")
        if not number:
            self._window = window_of(self._window, size)
            self._push_blocked()
        elif stream := self._streams.get(number):
            stream.window = window_of(stream.window, size)
            if stream.out:
                self.push(stream)

    def _push_blocked(self) -> None:
        for stream in tuple(self._blocked.values()):
            self.push(stream)

    def _goaway(self, code: int, reason: str = "") -> bytes:
        return frame(
            Frame.GOAWAY, 0, 0, _NUMBER.pack(self._last) + _NUMBER.pack(code) + reason.encode()
        )


class _ResetBudget:
    """The streams that a client may take back before we had answered: each is work for nothing."""

    def __init__(self) -> None:
        self._left = float(_MOST_RESETS)
        self._seen = 0.0

    def take(self) -> None:
        """Count one more. Raises ProtocolFault when there were too many."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._left + (now - self._seen) * _RESETS_A_SECOND, _MOST_RESETS) - 1
        self._seen = now
        if self._left < 0:
            raise ProtocolFault(
                Code.ENHANCE_YOUR_CALM, f"Over {_MOST_RESETS} streams were reset in a short time."
            )


def _reset_frame(number: int, code: int) -> bytes:
    return frame(Frame.RST_STREAM, 0, number, _NUMBER.pack(code))
