"""gRPC over HTTP/2: what a client sends, byte by byte, and the frames that it gets."""

import asyncio
import gzip
import struct
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import hpack
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import given, strategies as st

from devenv.gcp.caller import ApiCall
from devenv.gcp.errors import NotFound
from devenv.gcp.rpc import Rpc, StreamRpc
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.grpc_server import MESSAGE_LIMIT, GrpcServer
from devenv.gcp.rpc.http2 import PREFACE
from devenv.gcp.rpc.http2_frames import Code, Flag, Frame, frame, frames_in, header_block
from tests.unit.devenv.gcp.fakes import Everybody, MemoryJournal, no_faults

pytestmark = pytest.mark.anyio

_LAST = Flag.END_STREAM


class EchoMethods:
    """The methods under test: they answer with what they got, after `wait` or with `error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.wait: asyncio.Event | None = None
        self.cancelled = False

    async def answer(self, request: Any, _call: ApiCall) -> BytesValue:
        try:
            if self.wait:
                await self.wait.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error:
            raise self.error
        return BytesValue(value=request.value)

    async def answers(
        self, requests: AsyncIterator[Any], _call: ApiCall
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield BytesValue(value=request.value)
        if self.error:
            raise self.error


class FrameWire(asyncio.Transport):
    """The transport of a connection: it keeps what the server writes."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.data += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class GrpcClient:
    """The other side of a connection of `GrpcServer`, in one event loop with it."""

    def __init__(self) -> None:
        self.desk = EchoMethods()
        self.journal = MemoryJournal()
        self.wire = FrameWire()
        rpcs = (
            Rpc("t.T/Echo", BytesValue, BytesValue, self.desk.answer),
            StreamRpc("t.T/Stream", BytesValue, BytesValue, self.desk.answers),
        )
        server = GrpcServer(rpcs, Calls(Everybody(), self.journal, no_faults()))
        self.connection: Any = server.protocol()
        self.connection.connection_made(self.wire)
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self.send(PREFACE + frame(Frame.SETTINGS, 0, 0))

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def head(self, method: str = "Echo", *, number: int = 1, **headers: str) -> bytes:
        fields: dict[bytes | str, bytes | str] = {
            ":method": "POST",
            ":path": f"/t.T/{method}",
            "content-type": "application/grpc",
        }
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        return frame(Frame.HEADERS, Flag.END_HEADERS, number, self._encoder.encode(fields))

    async def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Return the frames that came since the last time, without the greeting's."""
        for _ in range(8):
            await asyncio.sleep(0)
        found = [each[:4] for each in frames_in(self.wire.data, 0, 1 << 24)]
        self.wire.data = b""
        return [each for each in found if each[0] not in (Frame.SETTINGS, Frame.WINDOW_UPDATE)]

    async def answer(self) -> tuple[dict[str, str], bytes]:
        """Return the headers and trailers, and the data."""
        headers: dict[str, str] = {}
        data = b""
        for kind, _, _, payload in await self.frames():
            if kind == Frame.HEADERS:
                headers |= {str(name): str(value) for name, value in self._decoder.decode(payload)}
            elif kind == Frame.DATA:
                data += payload
        return headers, data


def message(value: bytes, *, packed: int = 0) -> bytes:
    return struct.pack(">BI", packed, len(value)) + value


def echo(value: bytes) -> bytes:
    return message(BytesValue(value=value).SerializeToString())


def data(payload: bytes, flags: int = _LAST, number: int = 1) -> bytes:
    return frame(Frame.DATA, flags, number, payload)


async def test_request_in_single_bytes_is_answered() -> None:
    client = GrpcClient()
    for byte in client.head() + data(echo(b"one")):
        client.send(bytes((byte,)))
    headers, body = await client.answer()
    assert (headers[":status"], headers["grpc-status"], body) == ("200", "0", echo(b"one"))


async def test_repeated_block_is_read_with_the_table_of_its_time() -> None:
    client = GrpcClient()
    for number, method in ((1, "Echo"), (3, "Other"), (5, "Echo"), (7, "Echo"), (9, "Other")):
        client.send(client.head(method, number=number) + data(echo(b""), number=number))
        expected = "0" if method == "Echo" else "12"
        assert (await client.answer())[0]["grpc-status"] == expected


async def test_padding_priority_and_continuation_are_read() -> None:
    client = GrpcClient()
    block = client.head()[9:]
    padded = bytes((2,)) + bytes(5) + block[:10] + bytes(2)
    client.send(frame(Frame.HEADERS, Flag.PADDED | Flag.PRIORITY, 1, padded))
    client.send(frame(Frame.CONTINUATION, Flag.END_HEADERS, 1, block[10:]))
    client.send(data(bytes((3,)) + echo(b"one") + bytes(3), _LAST | Flag.PADDED))
    assert (await client.answer())[1] == echo(b"one")


async def test_unknown_method_is_unimplemented_and_noted() -> None:
    client = GrpcClient()
    client.send(client.head("Other") + data(echo(b"")))
    headers, _ = await client.answer()
    assert (headers["grpc-status"], headers["grpc-message"]) == ("12", "Method not found!")
    assert client.journal.missing()[0]["method"] == "t.T.Other"


async def test_request_that_is_no_grpc_gets_415() -> None:
    client = GrpcClient()
    client.send(client.head(content_type="application/json") + data(b"{}"))
    headers, _ = await client.answer()
    assert (headers[":status"], headers["grpc-status"]) == ("415", "13")


async def test_error_has_its_text_and_details_in_trailers() -> None:
    client = GrpcClient()
    client.desk.error = NotFound("No „x“: 100 %.", (ErrorInfo(reason="GONE"),))
    client.send(client.head() + data(echo(b"")))
    headers, body = await client.answer()
    status = Status.FromString(b64decode(headers["grpc-status-details-bin"]))
    assert (headers["grpc-status"], body, status.message) == ("5", b"", "No „x“: 100 %.")
    assert headers["grpc-message"] == "No %E2%80%9Ex%E2%80%9C: 100 %25."


async def test_message_of_100_mb_is_refused_before_it_comes() -> None:
    client = GrpcClient()
    client.send(client.head() + data(struct.pack(">BI", 0, 100 << 20), 0))
    headers, _ = await client.answer()
    assert headers["grpc-status"] == "8"
    assert (
        headers["grpc-message"]
        == f"Received message larger than max (104857600 vs. {MESSAGE_LIMIT})"
    )
    client.send(data(b"the rest"))
    client.send(client.head(number=3) + data(echo(b"next"), number=3))
    assert (await client.answer())[1] == echo(b"next")


@pytest.mark.parametrize(
    ("encoding", "packed", "status"),
    [
        ("gzip", gzip.compress(BytesValue(value=b"one").SerializeToString()), "0"),
        ("gzip", gzip.compress(bytes(MESSAGE_LIMIT + 1), 1), "8"),
        ("gzip", b"no gzip", "13"),
        ("gzip", gzip.compress(b"", mtime=0)[:-8], "13"),
        ("snappy", b"", "12"),
    ],
    ids=["gzip", "bomb", "broken", "cut", "unknown"],
)
async def test_compressed_message_is_expanded_within_the_limit(
    encoding: str, packed: bytes, status: str
) -> None:
    client = GrpcClient()
    sent = message(packed, packed=1)
    client.send(client.head(grpc_encoding=encoding))
    for start in range(0, len(sent), 16_384):
        client.send(data(sent[start : start + 16_384], 0))
    client.send(data(b""))
    assert (await client.answer())[0]["grpc-status"] == status


@pytest.mark.parametrize("sent", [b"", echo(b"one")[:-1], echo(b"one") * 2])
async def test_request_that_is_not_one_message_is_refused(sent: bytes) -> None:
    client = GrpcClient()
    client.send(client.head() + data(sent))
    assert (await client.answer())[0]["grpc-status"] == "13"


async def test_second_request_of_a_unary_call_is_refused_as_it_comes() -> None:
    client = GrpcClient()
    client.send(client.head() + data(bytes(16_000), 0))
    assert (await client.answer())[0]["grpc-status"] == "13"


async def test_answer_waits_for_the_windows_of_the_client() -> None:
    client = GrpcClient()
    client.send(frame(Frame.SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
    client.send(client.head() + data(echo(b"x" * 100)))
    _, first = await client.answer()
    client.send(frame(Frame.WINDOW_UPDATE, 0, 1, struct.pack(">I", 1000)))
    headers, rest = await client.answer()
    assert (len(first), first + rest, headers["grpc-status"]) == (10, echo(b"x" * 100), "0")


async def test_windows_are_widened_while_a_large_message_comes() -> None:
    client = GrpcClient()
    size = 8 << 20
    client.send(client.head() + data(struct.pack(">BI", 0, size), 0))
    client.wire.data = b""
    for _ in range(size // 16_384 // 2):
        client.send(data(bytes(16_384), 0))
    updates = {each[2] for each in frames_in(client.wire.data, 0, 1 << 24)}
    assert updates == {0, 1}


async def test_reset_stream_cancels_its_handler() -> None:
    client = GrpcClient()
    client.desk.wait = asyncio.Event()
    client.send(client.head() + data(echo(b"")))
    await client.frames()
    client.send(frame(Frame.RST_STREAM, 0, 1, struct.pack(">I", 8)))
    assert await client.frames() == []
    assert client.desk.cancelled


async def test_deadline_ends_the_call() -> None:
    client = GrpcClient()
    client.desk.wait = asyncio.Event()
    client.send(client.head(grpc_timeout="1n") + data(echo(b"")))
    await asyncio.sleep(0)
    headers, _ = await client.answer()
    assert headers["grpc-status"] == "4"


async def test_stream_answers_each_request_then_its_error() -> None:
    client = GrpcClient()
    client.desk.error = NotFound("gone")
    client.send(client.head("Stream") + data(echo(b"1"), 0))
    assert (await client.answer())[1] == echo(b"1")
    client.send(data(echo(b"2")))
    headers, body = await client.answer()
    assert body == echo(b"2")
    assert headers == {"grpc-status": "5", "grpc-message": "gone"}


async def test_smaller_table_is_acknowledged_in_the_next_headers() -> None:
    client = GrpcClient()
    client.send(frame(Frame.SETTINGS, 0, 0, struct.pack(">HI", 1, 0)))
    client.send(client.head() + data(echo(b"")))
    (_, _, _, block), *_ = await client.frames()
    assert block.startswith(b"\x20")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(Frame.DATA, 0, 1), Code.PROTOCOL_ERROR),
        (frame(Frame.HEADERS, Flag.END_HEADERS, 2, header_block()), Code.PROTOCOL_ERROR),
        (frame(Frame.HEADERS, Flag.END_HEADERS, 1, b"\xff\xff\xff"), Code.COMPRESSION_ERROR),
        (frame(Frame.HEADERS, Flag.PADDED, 1, b"\x09"), Code.PROTOCOL_ERROR),
        (frame(Frame.HEADERS, 0, 1) + frame(Frame.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(Frame.CONTINUATION, 0, 1), Code.PROTOCOL_ERROR),
        (
            frame(Frame.HEADERS, 0, 1) + 5 * frame(Frame.CONTINUATION, 0, 1, bytes(16_384)),
            Code.ENHANCE_YOUR_CALM,
        ),
        (frame(Frame.SETTINGS, 0, 0, b"1"), Code.FRAME_SIZE_ERROR),
        (frame(Frame.SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)), Code.FLOW_CONTROL_ERROR),
        (frame(Frame.SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), Code.PROTOCOL_ERROR),
        (frame(Frame.PING, 0, 0, b"1"), Code.FRAME_SIZE_ERROR),
        (frame(Frame.PUSH_PROMISE, 0, 1), Code.PROTOCOL_ERROR),
        (frame(Frame.RST_STREAM, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(Frame.WINDOW_UPDATE, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(Frame.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), Code.FLOW_CONTROL_ERROR),
        (frame(99, 0, 0, bytes(16_385)), Code.FRAME_SIZE_ERROR),
    ],
    ids=map(str, range(16)),
)
async def test_broken_protocol_ends_the_connection_with_the_reason(sent: bytes, code: Code) -> None:
    client = GrpcClient()
    client.send(sent)
    kind, _, _, payload = (await client.frames())[-1]
    assert (kind, int.from_bytes(payload[4:8]), client.wire.is_closed) == (Frame.GOAWAY, code, True)
    assert len(payload) > 8


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 5), st.binary())))
def test_arbitrary_frames_break_nothing(sent: list[tuple[int, int, int, bytes]]) -> None:
    async def run() -> None:
        client = GrpcClient()
        client.send(b"".join(frame(*each) for each in sent))
        await client.frames()
        client.connection.connection_lost(None)

    asyncio.run(run())
