"""gRPC over HTTP/2, in the event loop of the cloud: the server of all methods.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md describes the protocol. Google's own server
for Python runs threads beside the loop and opens ports itself, see
docs/decisions/0028-grpc-in-the-event-loop.md.
"""

import asyncio
import logging
import re
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any
from urllib.parse import quote

from google.protobuf.message import Message

from devenv.gcp.errors import (
    CloudError,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from devenv.gcp.rpc import Rpc, StreamRpc
from devenv.gcp.rpc.calls import Calls, method_id, status
from devenv.gcp.rpc.http2 import Http2Connection, Http2Stream, StreamHandler
from devenv.gcp.rpc.http2_frames import header_block
from devenv.gcp.rpc.http2_headers import HEADERS_LIMIT
from devenv.gcp.turns import begin

log = logging.getLogger(__name__)

# The largest request is a publication to Pub/Sub, of 10 MB; it is refused with Google's text.
MESSAGE_LIMIT = 20 << 20
_MOST_HELD = 256 << 20  # bytes of requests in progress, of all clients together
_PREFIX = 5  # whether the message is compressed, and its length
_NOT_ONE = "The request is not one whole message."
_LONGEST_NAME = 500  # of a method that is not emulated, in the journal
_GRACE = 0.2
# Of an error, in bytes: Google's client for Python takes 8 KiB of trailers, some others not much more.
_LONGEST_TEXT, _LONGEST_DETAILS = 1200, 3000
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_HEAD = header_block(
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("grpc-accept-encoding", "identity, deflate, gzip"),
)
_OK = header_block(("grpc-status", "0"))
_NOT_OK = header_block(("grpc-status", "13"))
_NO_GRPC = header_block((":status", "415"), ("content-type", "text/plain"))
_TOO_LARGE = header_block((":status", "431"), ("content-type", "text/plain"))
_GRPC = re.compile(r"application/grpc(?:[+;].*)?", re.IGNORECASE)  # not gRPC-Web


class GrpcServer:
    """The gRPC methods of `rpcs`, on connections that the doors hand over."""

    def __init__(self, rpcs: Iterable[Rpc | StreamRpc], calls: Calls) -> None:
        self._calls = calls
        self._methods = {f"/{rpc.method}": rpc for rpc in rpcs if rpc.has_grpc}
        self._connections: set[Http2Connection] = set()
        self._progress = _Progress()

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return Http2Connection(self._connections, self._open)

    async def stop(self) -> None:
        """Close every connection, after a moment for answers in progress."""
        for connection in tuple(self._connections):
            connection.leave()
        if self._progress.answering:
            await asyncio.wait(self._progress.answering, timeout=_GRACE)
        for connection in tuple(self._connections):
            connection.abort()
        if self._progress.answering:  # cancelled now: their ends belong into the journal
            await asyncio.wait(self._progress.answering, timeout=_GRACE)

    def _open(self, stream: Http2Stream) -> StreamHandler:
        path = stream.headers.get(":path", "")
        rpc = self._methods.get(path)
        if not _GRPC.fullmatch(stream.headers.get("content-type", "")):
            self._refuse_other(stream)
        elif rpc is None:
            self._calls.miss(method_id(path.removeprefix("/"))[:_LONGEST_NAME])
            _refuse(stream, Unimplemented("Method not found!"))
        elif refusal := _refusal_of_head(stream):
            _refuse(stream, _recorded(self._calls, rpc, stream, refusal))
        elif isinstance(rpc, StreamRpc):
            return _StreamCall(self._calls, rpc, stream, self._progress)
        else:
            return _UnaryCall(self._calls, rpc, stream, self._progress)
        return _Ignored()

    def _refuse_other(self, stream: Http2Stream) -> None:
        """Answer a request that is no call of gRPC."""
        if stream.is_too_large:
            self._calls.refuse_other(stream.headers, 431)
            stream.send(head=_TOO_LARGE, data=b"The headers are too large.\n", tail=_NOT_OK)
        else:
            self._calls.refuse_other(stream.headers, 415)
            stream.send(head=_NO_GRPC, data=b"HTTP/2 is for gRPC here.\n", tail=_NOT_OK)


def _refusal_of_head(stream: Http2Stream) -> CloudError | None:
    """Return the error of a call whose headers are too large, or whose deadline is now."""
    if stream.is_too_large:
        return ResourceExhausted(
            f"Received metadata size exceeds hard limit ({HEADERS_LIMIT} bytes)"
        )
    return _expired() if _timeout(stream.headers.get("grpc-timeout", "")) == 0 else None


def _expired() -> DeadlineExceeded:
    return DeadlineExceeded("Deadline Exceeded")


def _recorded(
    calls: Calls, rpc: Rpc | StreamRpc, stream: Http2Stream, error: CloudError
) -> CloudError:
    """Record a call that is refused before it is handled; return its error, or that of its caller."""
    try:
        calls.refuse(rpc, _metadata(stream), error)
    except CloudError as first:
        return first
    return error


class _Ignored:
    """The rest of a request that has been answered."""

    def data(self, payload: bytes) -> None: ...
    def end(self) -> None: ...
    def reset(self) -> None: ...


class _Messages:
    """The messages in the data of a stream. Raises CloudError for one that cannot be read."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._encoding = headers.get("grpc-encoding", "identity")
        self._data = bytearray()

    def __len__(self) -> int:
        """Return the size of what is here of the next message."""
        return len(self._data)

    def add(self, payload: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the messages that became whole by `payload`, each with whether it is compressed."""
        self._data += payload
        while len(self._data) >= _PREFIX:
            end = _PREFIX + int.from_bytes(self._data[1:_PREFIX])
            if end - _PREFIX > MESSAGE_LIMIT:
                raise _too_large(end - _PREFIX)
            if len(self._data) < end:
                break
            message = bytes(self._data[_PREFIX:end])
            is_packed = self._data[0]
            del self._data[:end]
            yield is_packed, message

    def expanded(self, is_packed: int, message: bytes) -> bytes:
        """Return a message as its sender meant it."""
        if not is_packed:
            return message
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            raise Unimplemented(f"grpc-encoding {self._encoding[:60]!r}: send gzip or deflate.")
        expander = zlib.decompressobj(bits)
        try:
            expanded = expander.decompress(message, MESSAGE_LIMIT + 1)
        except zlib.error as error:
            raise Internal(f"The message is not {self._encoding}: {error}.") from error
        if len(expanded) > MESSAGE_LIMIT:
            raise _too_large(len(expanded))
        if not expander.eof:
            raise Internal(f"The message ends before its {self._encoding} does.")
        return expanded


def _too_large(size: int) -> ResourceExhausted:
    return ResourceExhausted(f"Received message larger than max ({size} vs. {MESSAGE_LIMIT})")


class _Progress:
    """The calls of all clients that are not over: the tasks that answer them, and bytes of requests."""

    def __init__(self) -> None:
        self.answering: set[asyncio.Task[None]] = set()
        self.held = 0


class _Call:
    """A call of a method: its deadline, and the task that answers it."""

    def __init__(self, calls: Calls, stream: Http2Stream, progress: _Progress) -> None:
        """Be part of `progress` until it is over."""
        self._calls = calls
        self._stream = stream
        self._progress = progress
        self._held = 0
        self._messages = _Messages(stream.headers)
        self._head = _HEAD  # empty once it has been sent
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        seconds = _timeout(stream.headers.get("grpc-timeout", ""))
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def reset(self, status: str | None = None) -> None:
        """Stop the task; the journal has `status`, or that the client cancelled the call."""
        self._hold(0)
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel(status)

    def _hold(self, size: int) -> None:
        """Have so many bytes in memory of what the client has sent. Raises ResourceExhausted."""
        self._progress.held += size - self._held
        is_more, self._held = size > self._held, size
        if is_more and self._progress.held > _MOST_HELD:
            raise ResourceExhausted(
                f"The requests in progress have more than {_MOST_HELD} bytes together; send fewer at once."
            )

    def _expire(self) -> None:
        self._break_off(_expired())

    def _break_off(self, error: CloudError) -> None:
        """Answer with an error, whatever the task is doing."""
        self.reset(error.status)
        _refuse(self._stream, error, self._head)

    def _run(self, answer: Coroutine[Any, Any, None]) -> None:
        self._task = task = begin(answer)
        if task.done():
            self._done(task)
        else:
            self._progress.answering.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._progress.answering.discard(task)
        self._hold(0)
        if self._timer:
            self._timer.cancel()
        if task.cancelled():  # by the client or the deadline, which ended the stream; or by others
            error: BaseException | None = Unavailable("The call was broken off.")
        else:
            error = task.exception()
        if error and not isinstance(error, CloudError):
            log.error("%s broke", self._stream.headers[":path"], exc_info=error)
            error = Internal("Internal error encountered.")
        if isinstance(error, CloudError):
            _refuse(self._stream, error, self._head)


class _UnaryCall(_Call):
    """A call with one request and one answer."""

    def __init__(self, calls: Calls, rpc: Rpc, stream: Http2Stream, progress: _Progress) -> None:
        super().__init__(calls, stream, progress)
        self._rpc = rpc
        self._request: bytes | None = None

    def data(self, payload: bytes) -> None:
        try:
            for message in self._messages.add(payload):
                if self._request is not None:
                    raise Internal(_NOT_ONE)
                self._request = self._messages.expanded(*message)
            self._hold(len(self._messages) + len(self._request or b""))
        except CloudError as error:
            self._decline(error)
        else:
            self._stream.take(len(payload))

    def end(self) -> None:
        if self._request is None or len(self._messages):
            self._decline(Internal(_NOT_ONE))
        else:
            self._run(self._answer(self._request))

    def _decline(self, error: CloudError) -> None:
        """Answer a request that cannot be read."""
        self._break_off(_recorded(self._calls, self._rpc, self._stream, error))

    def _expire(self) -> None:
        if self._task is None:  # nobody else records a request that is not whole
            self._decline(_expired())
        else:
            super()._expire()

    async def _answer(self, request: bytes) -> None:
        read = partial(self._rpc.request.FromString, request)
        answer = await self._calls.run(self._rpc, _metadata(self._stream), read)
        self._stream.send(head=_HEAD, data=_framed(answer), tail=_OK)


class _StreamCall(_Call):
    """A call with a stream of requests and one of answers."""

    def __init__(
        self, calls: Calls, rpc: StreamRpc, stream: Http2Stream, progress: _Progress
    ) -> None:
        super().__init__(calls, stream, progress)
        self._rpc = rpc
        self._requests: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._waiting = (
            0  # bytes that the handler has not taken: the client's window is smaller by them
        )
        self._run(self._answer())

    def data(self, payload: bytes) -> None:
        try:
            for message in self._messages.add(payload):
                self._requests.put_nowait(message)
            self._hold(max(self._waiting + len(payload), len(self._messages)))
        except CloudError as error:
            self._break_off(error)
            return
        self._waiting += len(payload)
        if self._requests.empty():  # a large message must become whole before anybody can take it
            self._take()

    def end(self) -> None:
        self._requests.put_nowait(None)

    def _take(self) -> None:
        self._stream.take(self._waiting)
        self._waiting = 0
        self._hold(len(self._messages))

    async def _sent(self) -> AsyncIterator[bytes]:
        while (message := await self._requests.get()) is not None:
            yield self._messages.expanded(*message)
            if self._requests.empty():
                self._take()

    async def _answer(self) -> None:
        metadata = _metadata(self._stream)
        async with aclosing(self._calls.stream(self._rpc, metadata, self._sent())) as answers:
            async for answer in answers:
                self._stream.send(head=self._head, data=_framed(answer))
                self._head = b""
                await self._stream.drain()
        self._stream.send(head=self._head, tail=_OK)


def _refuse(stream: Http2Stream, error: CloudError, head: bytes = _HEAD) -> None:
    """End the answer with an error; `head` is empty if it has begun."""
    text = error.message.encode()[:_LONGEST_TEXT].decode(errors="ignore")
    trailers = [("grpc-status", str(error.code)), ("grpc-message", quote(text, safe=_PRINTABLE))]
    if error.details:
        detailed = status(error)
        detailed.message = text
        if (size := detailed.ByteSize()) <= _LONGEST_DETAILS:
            details = b64encode(detailed.SerializeToString()).decode()
            trailers.append(("grpc-status-details-bin", details))
        else:
            log.warning("Details of %d bytes are left out of: %s", size, text[:200])
    stream.send(tail=head + header_block(*trailers))


def _framed(answer: Message) -> bytes:
    data: bytes = answer.SerializeToString()
    return b"\0" + len(data).to_bytes(4) + data


def _metadata(stream: Http2Stream) -> Mapping[str, str]:
    """Return the metadata of a call, with its host; values of names with `-bin` are in Base64."""
    sent = {name: value for name, value in stream.headers.items() if not name.startswith(":")}
    return {"host": stream.headers.get(":authority", ""), **sent}


def _timeout(text: str) -> float | None:
    """Return the seconds of a grpc-timeout, None without one."""
    digits, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is None or not digits.isascii() or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * unit
