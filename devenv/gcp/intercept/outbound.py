"""What the emulated cloud itself sends: to its own services in process, to this machine by HTTP."""

import asyncio
import ssl
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

import httptools
from starlette.types import ASGIApp, Message

from devenv.gcp.delivery import Answer, NoAnswer, Request
from devenv.gcp.intercept.hosts import Hosts

_KEPT = 64 << 10
_CHUNK = 64 << 10


class Outbound:
    """The `Send` of Cloud Tasks and Cloud Scheduler."""

    def __init__(self, app: ASGIApp, hosts: Hosts, tls: ssl.SSLContext) -> None:
        """`app` answers for emulated hosts; `tls` says whom to trust on others."""
        self._app = app
        self._hosts = hosts
        self._tls = tls

    async def __call__(self, request: Request) -> Answer:
        url = urlsplit(request.url)
        host = url.hostname or ""
        async with asyncio.timeout(request.deadline):
            if self._hosts.emulated(host):
                return await _ask(self._app, request, url)
            if self._hosts.passed(host):
                return await self._fetch(request, url)
        raise NoAnswer(self._hosts.refusal(host))

    async def _fetch(self, request: Request, url: SplitResult) -> Answer:
        secure = url.scheme == "https"
        try:
            reader, writer = await asyncio.open_connection(
                url.hostname, url.port or (443 if secure else 80), ssl=self._tls if secure else None
            )
        except OSError as error:
            raise NoAnswer(f"{url.netloc}: {error.strerror or error}") from error
        try:
            writer.write(_wire(request, url))
            return await _read(reader)
        except OSError as error:
            raise NoAnswer(f"{url.netloc} broke off: {error.strerror or error}") from error
        finally:
            writer.close()


class _Reading:
    """Collects the answer that httptools parses."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body[: _KEPT - len(self.body)]

    def on_message_complete(self) -> None:
        self.complete = True


async def _read(reader: asyncio.StreamReader) -> Answer:
    reading = _Reading()
    parser = httptools.HttpResponseParser(reading)
    try:
        while not reading.complete and (data := await reader.read(_CHUNK)):
            parser.feed_data(data)
        status = parser.get_status_code()
    except httptools.HttpParserError as error:
        raise NoAnswer(f"The answer is not HTTP: {error}") from error
    bare = "content-length" not in reading.headers and "transfer-encoding" not in reading.headers
    if not status or not (reading.complete or bare):
        raise NoAnswer("The connection was closed before the answer was complete.")
    return Answer(status, reading.headers, bytes(reading.body))


def _wire(request: Request, url: SplitResult) -> bytes:
    lines = [f"{request.method} {_target(url)} HTTP/1.1", f"Host: {url.netloc}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {len(request.body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("utf-8") + request.body


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


async def _ask(app: ASGIApp, request: Request, url: SplitResult) -> Answer:
    """Let `app` answer as if the request had come over HTTPS."""
    status, headers, body = 0, dict[str, str](), bytearray()
    sent = asyncio.Event()

    async def receive() -> Message:
        if sent.is_set():
            await asyncio.Event().wait()  # the sender stays until it has its answer
        sent.set()
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.update(_texts(message.get("headers", ())))
        else:
            body.extend(message.get("body", b"")[: _KEPT - len(body)])

    await app(_scope(request, url), receive, send)
    return Answer(status, headers, bytes(body))


def _scope(request: Request, url: SplitResult) -> dict[str, object]:
    pairs = {"host": url.netloc, "content-length": str(len(request.body)), **request.headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": url.path or "/",
        "raw_path": (url.path or "/").encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in pairs.items()],
        "client": ("127.0.0.1", 0),
        "server": (url.hostname, 443),
        "state": {},
    }


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in headers}
