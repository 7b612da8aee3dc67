"""HTTP/2: what a client sends, byte by byte, and the frames that it gets."""

import asyncio
import struct

import pytest
from hypothesis import given, strategies as st

from devenv.gcp.rpc.http2_frames import Code, Flag, Frame, frame, frames_in, header_block
from tests.unit.devenv.gcp.rpc.grpc_client import GrpcClient, data, echo

pytestmark = pytest.mark.anyio


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
    client.send(data(bytes((3,)) + echo(b"one") + bytes(3), Flag.END_STREAM | Flag.PADDED))
    assert (await client.answer())[1] == echo(b"one")


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


def _widened(client: GrpcClient) -> set[int]:
    """Return the streams whose window was widened since the last time."""
    found = frames_in(client.wire.data, 0, 1 << 24)
    client.wire.data = b""
    return {number for kind, _, number, *_ in found if kind == Frame.WINDOW_UPDATE and number}


async def test_requests_that_no_handler_takes_keep_the_window_shut() -> None:
    client = GrpcClient()
    client.desk.wait = asyncio.Event()
    client.send(client.head("Stream") + 180 * data(echo(bytes(16_000)), 0))
    await asyncio.sleep(0)
    assert _widened(client) == set()
    client.desk.wait.set()
    client.send(frame(Frame.WINDOW_UPDATE, 0, 0, struct.pack(">I", 8 << 20)))
    client.send(frame(Frame.WINDOW_UPDATE, 0, 1, struct.pack(">I", 8 << 20)))
    for _ in range(1000):
        await asyncio.sleep(0)
        if widened := _widened(client):
            break
    assert widened == {1}


async def test_data_beyond_the_window_end_the_connection() -> None:
    client = GrpcClient()
    client.desk.wait = asyncio.Event()
    client.send(client.head("Stream") + 263 * data(echo(bytes(16_000)), 0))
    kind, _, _, payload = (await client.frames())[-1]
    assert (kind, int.from_bytes(payload[4:8])) == (Frame.GOAWAY, Code.FLOW_CONTROL_ERROR)


async def test_data_beyond_the_window_of_the_connection_end_it() -> None:
    client = GrpcClient()
    client.desk.wait = asyncio.Event()
    for number in range(1, 11, 2):
        client.send(client.head("Stream", number=number))
    client.send(b"".join(220 * data(echo(bytes(16_000)), 0, number) for number in range(1, 11, 2)))
    kind, _, _, payload = (await client.frames())[-1]
    assert (kind, int.from_bytes(payload[4:8])) == (Frame.GOAWAY, Code.FLOW_CONTROL_ERROR)


@pytest.mark.parametrize(
    ("kind", "answer"), [("application/grpc", ("200", "8")), ("text/plain", ("431", "13"))]
)
async def test_too_large_headers_end_their_stream_alone(kind: str, answer: tuple[str, str]) -> None:
    client = GrpcClient()
    block = header_block(
        *((":method", "POST"), (":path", "/t.T/Echo"), ("content-type", kind)),
        ("x-large", "x" * 100_000),
    )
    client.send(frame(Frame.HEADERS, 0, 1, block[:16_384]))
    for start in range(16_384, len(block), 16_384):
        client.send(frame(Frame.CONTINUATION, 0, 1, block[start : start + 16_384]))
    client.send(frame(Frame.CONTINUATION, Flag.END_HEADERS, 1) + data(echo(b"")))
    headers, _ = await client.answer()
    assert (headers[":status"], headers["grpc-status"]) == answer
    assert [row["status"] for row in client.journal.rows({})] == [
        "RESOURCE_EXHAUSTED" if kind == "application/grpc" else "431"
    ]
    client.send(client.head(number=3) + data(echo(b"two"), number=3))
    assert (await client.answer())[1] == echo(b"two")


async def test_client_that_resets_many_streams_is_told_to_calm_down() -> None:
    client = GrpcClient()
    reset = struct.pack(">I", Code.CANCEL)
    for number in range(1, 2401, 2):
        client.send(client.head(number=number) + frame(Frame.RST_STREAM, 0, number, reset))
    kind, _, _, payload = (await client.frames())[-1]
    assert (kind, int.from_bytes(payload[4:8])) == (Frame.GOAWAY, Code.ENHANCE_YOUR_CALM)


async def test_answer_waits_for_a_client_that_fetches_nothing() -> None:
    client = GrpcClient()
    client.connection.pause_writing()
    client.send(client.head() + data(echo(b"one")))
    assert (await client.answer())[1] == b""
    client.connection.resume_writing()
    assert (await client.answer())[1] == echo(b"one")


async def test_request_after_goaway_is_refused_unread() -> None:
    client = GrpcClient()
    client.connection.leave()
    client.send(client.head() + data(echo(b"late")))
    found = [(kind, payload[-4:]) for kind, _, _, payload in await client.frames()]
    refused = (Frame.RST_STREAM, struct.pack(">I", Code.REFUSED_STREAM))
    assert (found[-1], client.journal.rows({})) == (refused, [])


async def test_frames_after_a_broken_one_are_not_read() -> None:
    client = GrpcClient()
    client.send(frame(Frame.PING, 0, 0, b"1"))
    await client.frames()
    client.send(client.head("Other"))
    assert (await client.frames(), client.journal.rows({})) == ([], [])


async def test_known_block_is_read_again_after_its_entry_was_replaced() -> None:
    def literal(name: bytes, value: bytes) -> bytes:
        return bytes((0x40, len(name))) + name + b"\x7f" + _rest_of(len(value)) + value

    client = GrpcClient()
    call = header_block((":method", "POST"), (":path", "/t.T/Echo"))
    types = [kind + b"-" * 3000 for kind in (b"text/plain", b"text/html", b"application/grpc;")]
    names = (b"content-type", b"x-other", b"content-type")
    first, second, third = map(literal, names, types)
    expected = ["13", "13", "0", "0"]
    for number, block in enumerate(
        [call + first, call + b"\xbe", call + second + third, call + b"\xbe"]
    ):
        client.send(frame(Frame.HEADERS, Flag.END_HEADERS, 2 * number + 1, block))
        client.send(data(echo(b""), number=2 * number + 1))
        assert (await client.answer())[0]["grpc-status"] == expected[number]


def _rest_of(size: int) -> bytes:
    """Return a length of 127 + 128 or more as it follows its prefix (RFC 7541, section 5.1)."""
    size -= 127
    return bytes((size % 128 + 128, size // 128))


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
            frame(Frame.HEADERS, 0, 1) + 65 * frame(Frame.CONTINUATION, 0, 1, bytes(16_384)),
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


async def test_answers_to_many_small_frames_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    client, writes = GrpcClient(), list[int]()
    monkeypatch.setattr(client.wire, "write", lambda data: writes.append(len(data)))
    client.send(frame(Frame.PING, 0, 0, bytes(8)) * 10_000)
    assert sum(writes) == 10_000 * 17
    assert len(writes) <= 3
