"""The protocols that TLS clients offer, in real and in malformed messages."""

import asyncio
import socket
import ssl
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis.strategies import binary

from devenv.gcp.intercept import peek
from devenv.gcp.intercept.peek import missing, wants_only_h2

pytestmark = pytest.mark.anyio


def hello(*protocols: str) -> bytes:
    """Return the first message of Python's own TLS client."""
    context = ssl.create_default_context()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="run.googleapis.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


@pytest.mark.parametrize(
    ("protocols", "grpc"),
    [
        (("h2",), True),
        (("grpc-exp", "h2"), True),
        (("h2", "http/1.1"), False),
        (("http/1.1",), False),
        ((), False),
    ],
)
def test_client_hello_with_only_h2_is_grpc(protocols: tuple[str, ...], grpc: bool) -> None:
    assert wants_only_h2(hello(*protocols)) is grpc


def test_incomplete_client_hello_reports_missing_bytes() -> None:
    whole = hello("h2")

    assert missing(whole) == 0
    assert missing(whole[:-7]) == 7
    assert missing(whole[:2]) == 3
    assert missing(b"GET / HTTP/1.1") == 0


@given(binary(max_size=200))
def test_garbage_is_not_grpc(garbage: bytes) -> None:
    assert not wants_only_h2(b"\x16\x03\x01" + garbage) or b"h2" in garbage


def test_truncated_client_hello_is_not_grpc() -> None:
    whole = hello("h2")

    assert not any(wants_only_h2(whole[:length]) for length in range(len(whole)))


async def test_slow_client_is_asked_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = socket.socketpair()
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 100:
            there.send(b"\r\n\r\n")

    monkeypatch.setattr(peek, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": note}))
    with here, there:
        here.setblocking(False)
        there.send(b"GET")
        assert await peek.head(here) == b"GET\r\n\r\n"

    assert sum(pauses) > 9
