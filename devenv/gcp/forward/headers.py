"""Headers that a request gains and loses on its way through the front end."""

import secrets
from collections.abc import Iterable

from devenv.gcp.forward.connection import RawHeaders

_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(
            b"proxy-connection",
            b"te",
            b"trailer",
            b"transfer-encoding",
            b"upgrade",
            b"expect",
        ),  # codespell:ignore te
    }
)


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers that are not only for one connection."""
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


def with_origin(headers: RawHeaders, *, host: str, client: str) -> RawHeaders:
    """Return the headers with those that tell a container where the request comes from."""
    replaced = (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded")
    kept = [(name, value) for name, value in headers if name.lower() not in replaced]
    hops = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
    return [
        (b"host", host.encode()),
        *kept,
        (b"x-forwarded-for", b", ".join([*hops, client.encode()])),
        (b"x-forwarded-proto", b"https"),
        (b"forwarded", f'for="{client}";proto=https'.encode()),
        *_trace({name.lower() for name, _ in kept}),
    ]


def framing(headers: RawHeaders, *, first: bytes, more: bool, method: str) -> RawHeaders:
    """Return what says how long the body is, unless the headers do already."""
    if any(name.lower() == b"content-length" for name, _ in headers):
        return []
    if more:
        return [(b"transfer-encoding", b"chunked")]
    if first or method in ("POST", "PUT", "PATCH"):
        return [(b"content-length", str(len(first)).encode())]
    return []


def _trace(present: set[bytes]) -> RawHeaders:
    trace, span = secrets.token_hex(16), secrets.randbits(63) + 1
    added = [
        (b"x-cloud-trace-context", f"{trace}/{span};o=0".encode()),
        (b"traceparent", f"00-{trace}-{span:016x}-00".encode()),
    ]
    return [pair for pair in added if pair[0] not in present]
