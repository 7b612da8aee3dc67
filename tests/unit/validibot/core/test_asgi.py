"""Our ASGI handler: threads, deferred responses and probes."""

import asyncio
import io
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from validibot.core.asgi import DeferredResponse, ThreadedHandler, declared_length

FORM = b'--x\r\nContent-Disposition: form-data; name="content"\r\n\r\nhello\r\n--x--\r\n'


def _request(headers: list[tuple[bytes, bytes]]) -> ASGIRequest:
    form = (b"content-type", b"multipart/form-data; boundary=x")
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [form, *headers]}
    request, error = ThreadedHandler().create_request(scope, io.BytesIO(FORM))
    assert error is None
    assert isinstance(request, ASGIRequest)
    return request


def test_chunked_form_is_read() -> None:
    assert _request([]).POST["content"] == "hello"


def test_declared_content_length_is_kept() -> None:
    request = _request([(b"content-length", str(len(FORM)).encode())])

    assert request.META["CONTENT_LENGTH"] == str(len(FORM))
    assert request.POST["content"] == "hello"


@pytest.mark.parametrize(
    ("header", "length"),
    [(b"12", 12), (b"", 0), (b"-1", 0), (b"\xb2", 0), (b"9" * 5000, int("9" * 20))],
    ids=["number", "empty", "negative", "superscript", "5,000 digits"],
)
def test_length_is_read_from_any_header(header: bytes, length: int) -> None:
    assert declared_length({"headers": [(b"content-length", header)]}) == length


class _AsgiWire:
    """One ASGI connection: the messages of a client, and what it is sent."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.left = list(messages)
        self.sent: list[Any] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Any:
        if self.left:
            return self.left.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def _part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.anyio
async def test_stream_to_a_client_that_is_gone_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    response = StreamingHttpResponse([b"a"])
    monkeypatch.setattr(response, "close", lambda: closed.append(True))
    handler = ThreadedHandler()
    monkeypatch.setattr(handler, "get_response", lambda _: response)
    headers = [(b"content-length", b"9000000")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}

    async def send(message: Any) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await handler.handle(scope, _AsgiWire().receive, send)
    assert closed == [True]


@pytest.mark.anyio
@pytest.mark.parametrize(("path", "left"), [("/refused", 2), ("/read", 0)])
async def test_large_body_is_received_for_views_that_read_it(
    monkeypatch: pytest.MonkeyPatch, path: str, left: int
) -> None:
    wire = _AsgiWire(_part(b"a", more=True), _part(b"b"))
    unread: list[int] = []

    def respond(request: HttpRequest) -> HttpResponse:
        if request.path == "/refused":
            return HttpResponse(status=415)
        return HttpResponse(request.read())

    async def send(message: Any) -> None:
        unread.append(len(wire.left))
        wire.sent.append(message)

    handler = ThreadedHandler()
    monkeypatch.setattr(handler, "get_response", respond)
    headers = [(b"content-length", b"9000000")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}

    await handler.handle(scope, wire.receive, send)

    assert unread[0] == left
    assert wire.left == []
    assert wire.sent[1]["body"] == (b"" if left else b"ab")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "messages", [[_part(b"ab")], [_part(b"a", more=True), _part(b"b")]], ids=["one", "two"]
)
async def test_body_is_read_from_all_its_messages(messages: list[dict[str, Any]]) -> None:
    wire = _AsgiWire(*messages)

    with await ThreadedHandler().read_body(wire.receive) as body:
        assert body.read() == b"ab"
    assert not wire.left


@pytest.mark.anyio
async def test_client_that_leaves_ends_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, ended = ThreadedHandler(), []
    wire = _AsgiWire(_part(b""))

    async def wait() -> HttpResponse:
        wire.gone.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        raise AssertionError("nothing sets the event")

    def respond(request: HttpRequest) -> HttpResponse:
        return DeferredResponse(wait, status=202)

    monkeypatch.setattr(handler, "get_response", respond)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await handler(scope, wire.receive, wire.send)

    assert (ended, wire.sent) == ([True], [])
