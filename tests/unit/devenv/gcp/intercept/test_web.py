"""The HTTP server of the doors, on a transport that keeps what is written."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.types import Receive, Scope, Send

from devenv.gcp.intercept import web
from devenv.gcp.intercept.web import AsgiServer

pytestmark = pytest.mark.anyio

HEAD = b"POST /%d HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n"
_START = {"type": "http.response.start", "status": 200}


class Transport(asyncio.Transport):
    """A connection whose writes are kept one by one."""

    def __init__(self) -> None:
        super().__init__({"socket": Mock()})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    body = scope["path"].encode() + message["body"]
    await send(_START | {"headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def names(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    body = b" ".join(name for name, _ in scope["headers"])
    await send(_START | {"headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def late(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_START)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"late"})


async def forged(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_START | {"headers": [(b"etag", b"1\r\nset-cookie: a=b")]})


class Doorstep:
    """A connection of a server, with what is written and what is recorded of refused requests."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.transport = Transport()
        self.refused: list[tuple[str, str, str, int]] = []
        self.connection = AsgiServer(app, lambda *row: self.refused.append(row)).protocol()
        self.connection.connection_made(self.transport)


def answers(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], *sent: bytes
) -> tuple[list[bytes], list[int]]:
    """Return what is written for requests, and how many writes there are after each part of them."""

    async def exchange() -> tuple[list[bytes], list[int]]:
        door, counts = Doorstep(app), []
        for part in sent:
            door.connection.data_received(part)
            counts.append(len(door.transport.writes))
        for _ in range(5):
            await asyncio.sleep(0)
        door.connection.connection_lost(None)
        return door.transport.writes, counts

    return asyncio.run(exchange())


def test_short_request_is_answered_at_once_in_one_write() -> None:
    writes, counts = answers(echo, HEAD % 1 + b"\r\n", b"body")
    assert counts == [0, 1]
    assert writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert writes[0].endswith(b"\r\n\r\n/1body")
    assert re.search(rb"\r\ndate: \w{3}, [^\r]+ GMT\r\n", writes[0])


def test_head_leaves_before_a_body_that_comes_later() -> None:
    writes, _ = answers(late, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
    assert [part.startswith(b"HTTP/1.1 200") for part in writes] == [True, False]
    assert writes[1] == b"4\r\nlate\r\n0\r\n\r\n"


def test_answer_without_reader_lets_others_run() -> None:
    transport, turns = Transport(), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def long(_scope: Scope, _receive: Receive, send: Send) -> None:
        running = asyncio.create_task(other())
        await send(_START)
        transport.close()
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        running.cancel()

    async def exchange() -> None:
        connection = AsgiServer(long, Mock()).protocol()
        connection.connection_made(transport)
        connection.data_received(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        await asyncio.gather(
            *asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True
        )
        connection.connection_lost(None)

    asyncio.run(exchange())
    assert turns > 90


def test_client_that_expects_continue_gets_it_before_its_body() -> None:
    writes, _ = answers(echo, HEAD % 1 + b"expect: 100-continue\r\n\r\n", b"body")
    assert writes[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert writes[1].endswith(b"/1body")


def test_answer_before_an_expected_body_is_the_last_of_its_connection() -> None:
    writes, _ = answers(late, HEAD % 1 + b"expect: 100-continue\r\n\r\n")
    assert b"\r\nconnection: close\r\n" in writes[0]


def test_trailers_are_no_headers() -> None:
    chunked = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
    writes, _ = answers(names, chunked + b"authorization: x\r\n\r\n")
    assert b"".join(writes).endswith(b"\r\n\r\nhost transfer-encoding")


@pytest.mark.parametrize(
    ("sent", "reason", "row"),
    [
        (b"G@T / HTTP/1.1\r\n\r\n", b"Invalid method encountered.", ("-", "", "")),
        (b"GET /a HTTP/3.7\r\n\r\n", b"Invalid HTTP version.", ("GET", "", "/a")),
        (
            b"GET /a?b HTTP/1.1\r\nhost: h:80\r\naccept: x\r\nno header\r\n\r\n",
            b"Invalid header token.",
            ("GET", "h", "/a"),
        ),
        (b"GET http://[ HTTP/1.1\r\n\r\n", b"its URL is not valid.", ("GET", "", "http://[")),
        (
            b"GET / HTTP/1.1\r\nhost: " + bytes(600_000).replace(b"\0", b"h"),
            b"longer than 524288 bytes.",
            ("GET", "", "/"),
        ),
    ],
    ids=["method", "version", "header", "URL", "endless"],
)
@pytest.mark.parametrize("before", [b"", HEAD % 1 + b"\r\nbody"], ids=["first", "second"])
async def test_request_that_cannot_be_read_is_refused_and_recorded(
    sent: bytes, reason: bytes, row: tuple[str, str, str], before: bytes
) -> None:
    door = Doorstep(echo)
    door.connection.data_received(before + sent)
    assert door.transport.writes[-1].startswith(b"HTTP/1.1 400")
    assert door.transport.writes[-1].endswith(reason + b"\n")
    assert (door.refused, door.transport.closed) == ([(*row, 400)], True)


async def test_broken_body_of_a_running_request_disconnects_its_client() -> None:
    seen: list[str] = []

    async def read(_scope: Scope, receive: Receive, _send: Send) -> None:
        while not seen or seen[-1] == "http.request":
            seen.append((await receive())["type"])

    door = Doorstep(read)
    door.connection.data_received(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\n")
    door.connection.connection_lost(None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (door.refused, seen) == ([], ["http.disconnect"])


@pytest.mark.parametrize("sent", [b"POST / HT", HEAD % 1 + b"\r\nbo"], ids=["head", "body"])
async def test_request_whose_rest_does_not_come_is_refused(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    for name in ("_HEAD_SECONDS", "_BODY_SECONDS"):
        monkeypatch.setattr(web, name, 0.0)
    door = Doorstep(echo)
    door.connection.data_received(sent)
    for _ in range(5):
        await asyncio.sleep(0)
    assert [part[:12] for part in door.transport.writes] == [b"HTTP/1.1 408"]
    assert [status for *_, status in door.refused] == [408]


async def test_whole_request_and_silence_after_it_are_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_HEAD_SECONDS", "_BODY_SECONDS"):
        monkeypatch.setattr(web, name, 0.0)
    door = Doorstep(echo)
    for part in (HEAD % 1 + b"\r\nbo", b"dy"):
        door.connection.data_received(part)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (door.refused, door.transport.closed) == ([], False)
    door.connection.connection_lost(None)


def test_head_behind_a_long_body_is_read() -> None:
    body = bytes(65_536)
    request = b"PUT / HTTP/1.1\r\ncontent-length: 655360\r\n\r\n"
    writes, _ = answers(echo, request, *10 * [body], b"GET /next", b" HTTP/1.1\r\nhost: h\r\n\r\n")
    assert writes[-1].endswith(b"/next")


def test_pipelined_requests_are_answered_in_order() -> None:
    requests = b"".join(HEAD % number + b"\r\nbody" for number in range(3))
    writes, _ = answers(echo, requests)
    assert [part[-6:] for part in writes] == [b"/0body", b"/1body", b"/2body"]


def test_request_behind_the_last_answer_of_a_connection_is_not_run() -> None:
    seen: list[str] = []

    async def last(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await send(_START | {"headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b""})

    answers(last, b"".join(HEAD % number + b"\r\nbody" for number in range(2)))
    assert seen == ["/0"]


def test_requests_behind_a_slow_one_wait_for_it() -> None:
    writes, _ = answers(late, 2 * b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
    assert [part[:4] for part in writes[:3]] == [b"HTTP", b"4\r\nl", b"HTTP"]


def test_header_with_line_break_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    writes, _ = answers(forged, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
    assert b"set-cookie" not in b"".join(writes)
    assert "that HTTP forbids" in caplog.text
