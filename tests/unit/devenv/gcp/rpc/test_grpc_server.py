"""gRPC over HTTP/2: the calls of a client, and the answers that it gets."""

import asyncio
import gzip
import struct
from base64 import b64decode

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from devenv.gcp.errors import NotFound
from devenv.gcp.rpc import grpc_server
from devenv.gcp.rpc.grpc_server import MESSAGE_LIMIT
from devenv.gcp.rpc.http2_frames import Code, Frame, frame
from tests.unit.devenv.gcp.rpc.grpc_client import GrpcClient, data, echo, message

pytestmark = pytest.mark.anyio


async def test_request_in_single_bytes_is_answered() -> None:
    client = GrpcClient()
    for byte in client.head() + data(echo(b"one")):
        client.send(bytes((byte,)))
    headers, body = await client.answer()
    assert (headers[":status"], headers["grpc-status"], body) == ("200", "0", echo(b"one"))


async def test_unknown_method_is_unimplemented_and_noted() -> None:
    client = GrpcClient()
    client.send(client.head("Other") + data(echo(b"")))
    headers, _ = await client.answer()
    assert (headers["grpc-status"], headers["grpc-message"]) == ("12", "Method not found!")
    assert client.journal.missing()[0]["method"] == "t.T.Other"


async def test_repeated_and_binary_metadata_reaches_the_method() -> None:
    client = GrpcClient()
    more = [("x-key", "one"), ("x-key", "two"), ("x-bin", "AAE"), ("x-bin", "Ag==")]
    client.send(client.head(more=more) + data(echo(b"")))
    assert (await client.answer())[0]["grpc-status"] == "0"
    headers = client.desk.headers
    assert (headers["x-key"], headers["x-bin"]) == ("one,two", "AAE,Ag==")


async def test_repeated_path_breaks_the_connection() -> None:
    client = GrpcClient()
    client.send(client.head(more=[(":path", "/t.T/Other")]) + data(echo(b"")))
    assert [kind for kind, *_ in await client.frames()] == [Frame.GOAWAY]


@pytest.mark.parametrize("kind", ["application/json", "application/grpc-web+proto"])
async def test_request_that_is_no_grpc_gets_415(kind: str) -> None:
    client = GrpcClient()
    client.send(client.head(content_type=kind) + data(b"{}"))
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


async def test_trailers_of_long_error_fit_into_8_kib() -> None:
    client = GrpcClient()
    client.desk.error = NotFound("ü" * 20_000, (ErrorInfo(reason="R" * 1000),))
    client.send(client.head() + data(echo(b"")))
    headers, _ = await client.answer()
    assert sum(len(name) + len(value) + 32 for name, value in headers.items()) < 8192
    assert len(headers["grpc-message"]) > 3000
    assert "grpc-status-details-bin" in headers


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


async def test_reset_while_an_answer_waits_is_in_the_journal() -> None:
    client = GrpcClient()
    client.send(frame(Frame.SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    client.send(client.head("Stream") + data(echo(b"1"), 0))
    await client.frames()
    client.send(frame(Frame.RST_STREAM, 0, 1, struct.pack(">I", 8)))
    await client.frames()
    assert [row["status"] for row in client.journal.rows({})] == ["CANCELLED"]


async def test_reset_stream_cancels_its_handler() -> None:
    client = GrpcClient()
    client.desk.wait = asyncio.Event()
    client.send(client.head() + data(echo(b"")))
    await client.frames()
    client.send(frame(Frame.RST_STREAM, 0, 1, struct.pack(">I", 8)))
    assert await client.frames() == []
    assert client.desk.cancelled


async def test_handler_that_is_cancelled_by_others_is_answered() -> None:
    client = GrpcClient()
    client.desk.error = asyncio.CancelledError()
    client.send(client.head() + data(echo(b"")))
    assert (await client.answer())[0]["grpc-status"] == "14"


@pytest.mark.parametrize("limit", ["1n", "0S"])
@pytest.mark.parametrize("sent", [data(echo(b"")), data(echo(b"")[:3], 0)], ids=["whole", "begun"])
async def test_deadline_ends_the_call(limit: str, sent: bytes) -> None:
    client = GrpcClient()
    client.desk.wait = asyncio.Event()
    client.send(client.head(grpc_timeout=limit) + sent)
    await asyncio.sleep(0)
    headers, _ = await client.answer()
    await client.frames()
    assert headers["grpc-status"] == "4"
    assert [row["status"] for row in client.journal.rows({})] == ["DEADLINE_EXCEEDED"]


async def test_stream_with_too_large_a_message_is_in_the_journal_as_refused() -> None:
    client = GrpcClient()
    client.send(client.head("Stream") + data(struct.pack(">BI", 0, 1 << 30), 0))
    headers, _ = await client.answer()
    await client.frames()
    assert headers["grpc-status"] == "8"
    assert [row["status"] for row in client.journal.rows({})] == ["RESOURCE_EXHAUSTED"]


async def test_stream_answers_each_request_then_its_error() -> None:
    client = GrpcClient()
    client.desk.error = NotFound("gone")
    client.send(client.head("Stream") + data(echo(b"1"), 0))
    assert (await client.answer())[1] == echo(b"1")
    client.send(data(echo(b"2")))
    headers, body = await client.answer()
    assert body == echo(b"2")
    assert headers == {"grpc-status": "5", "grpc-message": "gone"}


async def test_requests_in_progress_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "_MOST_HELD", 1000)
    client = GrpcClient()
    part = message(bytes(900))[:600]
    client.send(client.head(number=1) + data(part, 0, number=1))
    client.send(client.head(number=3) + data(part, 0, number=3))
    headers, _ = await client.answer()
    assert headers["grpc-status"] == "8"
    assert "more than 1000 bytes together" in headers["grpc-message"]
    client.send(frame(Frame.RST_STREAM, 0, 1, Code.CANCEL.to_bytes(4)))
    client.send(client.head("Stream", number=5) + data(part, 0, number=5))
    assert await client.frames() == []
