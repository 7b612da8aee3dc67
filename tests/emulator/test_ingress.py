"""The ingress of Cloud Run services, in front of real local servers."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from devenv.gcp import delivery
from devenv.gcp.config import CloudConfig, ServiceConfig
from tests.emulator.target import raw, serving
from tests.unit.devenv.gcp.fakes import FakeGuard
from tests.unit.devenv.gcp.run_services.bench import make_services

pytestmark = pytest.mark.anyio

HOST = "worker-123456789012.us-west1.run.app"
URL = f"https://{HOST}"


async def echo(request: Request) -> Response:
    headers = [(k, v) for k, v in request.headers.items()]
    body = (await request.body()).decode()
    return JSONResponse(
        {
            "headers": headers,
            "body": body,
            "path": request.scope["raw_path"].decode(),
            "method": request.method,
        }
    )


async def digest(request: Request) -> Response:
    found = hashlib.sha256()
    async for chunk in request.stream():
        found.update(chunk)
    return PlainTextResponse(found.hexdigest())


async def slow(_: Request) -> Response:
    await asyncio.sleep(5)
    return PlainTextResponse("late")


async def large(_: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    return StreamingResponse(chunks())


async def early(_: Request) -> Response:
    return PlainTextResponse("too large", status_code=413)


async def endless(_: Request) -> Response:
    async def ticks() -> AsyncIterator[bytes]:
        while True:
            yield b"tick"
            await asyncio.sleep(0.01)

    return StreamingResponse(ticks())


APP = Starlette(
    routes=[
        Route("/endless", endless),
        Route("/digest", digest, methods=["POST"]),
        Route("/slow", slow, methods=["GET", "POST"]),
        Route("/large", large),
        Route("/early", early, methods=["POST"]),
        Route("/{path:path}", echo, methods=["GET", "HEAD", "POST", "PUT", "DELETE"]),
    ]
)


def claims(token: str) -> Mapping[str, Any] | None:
    """Read tokens of the form `email|audience`."""
    email, bar, audience = token.partition("|")
    return {"email": email, "aud": audience} if bar else None


def bearer(audience: str = URL) -> dict[str, str]:
    return {"Authorization": f"Bearer tasks@p|{audience}"}


class Front:
    """The ingress of one service, and a client before it."""

    def __init__(self, port: int, *, public: bool = True, **options: Any) -> None:
        service = ServiceConfig(name="worker", port=port, account="worker", public=public)
        config = CloudConfig(services=(service,))
        self.guard = FakeGuard()
        self.guard.public = public
        self.services = make_services(config, guard=self.guard, claims=claims, **options)
        self.app = self.services.mounts()[0].app
        transport = httpx.ASGITransport(app=self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url=URL)


async def started(port: int, **options: Any) -> Front:
    found = Front(port, **options)
    await found.services.start()
    return found


@asynccontextmanager
async def front(**options: Any) -> AsyncIterator[Front]:
    async with serving(APP) as port:
        found = await started(port, **options)
        async with found.client:
            yield found
        await found.services.stop()


async def test_request_reaches_local_port_with_google_headers() -> None:
    async with front() as it:
        found = (await it.client.post("/a%20b/?q=1", content=b"hello")).json()
    headers = dict(found["headers"])
    assert (found["method"], found["body"]) == ("POST", "hello")
    assert found["path"] == "/a%20b/"
    assert headers["host"] == HOST
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["forwarded"] == 'for="127.0.0.1";proto=https'
    assert headers["traceparent"].startswith("00-")
    assert "/" in headers["x-cloud-trace-context"]


async def test_trace_of_request_is_continued() -> None:
    parent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    async with front() as it:
        headers = dict((await it.client.get("/", headers=parent)).json()["headers"])
    assert headers["x-cloud-trace-context"].split("/")[0] == "a" * 32


async def test_client_forwarding_headers_are_overridden() -> None:
    sent = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher", "Forwarded": "for=me"}
    async with front() as it:
        headers = dict((await it.client.get("/", headers=sent)).json()["headers"])
    assert headers["x-forwarded-for"] == "6.6.6.6, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert "for=me" not in headers["forwarded"]


async def test_large_upload_is_streamed() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"y" * 500_000

    async with front() as it:
        found = await it.client.post("/digest", content=chunks())
    assert found.text == hashlib.sha256(b"y" * 32_000_000).hexdigest()


async def test_large_answer_is_streamed() -> None:
    async with front() as it:
        assert len((await it.client.get("/large")).content) == 10_000_000


async def test_early_answer_to_an_upload_is_passed_on() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"y" * 100_000

    async with front() as it:
        assert (await it.client.post("/early", content=chunks())).status_code == 413


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "DELETE"])
async def test_connection_is_reused_after_every_method(method: str) -> None:
    async with front() as it:
        for _ in range(3):
            assert (await it.client.request(method, "/x")).status_code == 200


async def test_concurrent_requests_get_their_own_answers() -> None:
    async with front() as it:
        found = await asyncio.gather(
            *(it.client.post("/x", content=str(n).encode()) for n in range(100))
        )
    assert [answer.json()["body"] for answer in found] == [str(n) for n in range(100)]


async def test_private_service_without_token_returns_403() -> None:
    async with front(public=False) as it:
        it.guard.denied.add("run.routes.invoke")
        found = await it.client.get("/x<y>")
    assert found.status_code == 403
    assert "Your client does not have permission to get URL <code>/x&lt;y&gt;</code>" in (
        found.text.replace("%3C", "&lt;").replace("%3E", "&gt;")
    )


@pytest.mark.parametrize(
    "header",
    [
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer"},
        bearer("https://other-123456789012.us-west1.run.app"),
        bearer(f"{URL}.evil.example"),
        bearer(""),
    ],
)
async def test_invalid_token_returns_401(header: dict[str, str]) -> None:
    async with front(public=False) as it:
        found = await it.client.get("/x", headers=header)
    assert found.status_code == 401
    assert "Unauthorized" in found.text
    assert "invalid_token" in found.headers["www-authenticate"]


async def test_two_tokens_return_401() -> None:
    twice = [("Authorization", f"Bearer tasks@p|{URL}")] * 2
    async with front(public=False) as it:
        assert (await it.client.get("/x", headers=twice)).status_code == 401


@pytest.mark.parametrize("audience", [URL, f"{URL}/", f"{URL}/x/y?z=1"])
async def test_audience_is_the_url_with_or_without_path(audience: str) -> None:
    async with front(public=False) as it:
        assert (await it.client.get("/x", headers=bearer(audience))).status_code == 200
    resource = "projects/local-project/locations/us-west1/services/worker"
    assert it.guard.asked == [("run.routes.invoke", resource)]


async def test_token_without_permission_returns_403() -> None:
    async with front(public=False) as it:
        it.guard.denied.add("run.routes.invoke")
        assert (await it.client.get("/x", headers=bearer())).status_code == 403


async def test_public_service_receives_any_token() -> None:
    async with front() as it:
        found = await it.client.get("/x", headers={"Authorization": "Bearer key"})
    assert dict(found.json()["headers"])["authorization"] == "Bearer key"


async def test_host_without_service_returns_404() -> None:
    async with front() as it:
        found = await it.client.get("https://nobody-1.us-west1.run.app/")
    assert found.status_code == 404


async def test_stopped_service_returns_503() -> None:
    async with raw(b"") as port:
        pass
    assert (await (await started(port)).client.get("/")).status_code == 503


@pytest.mark.parametrize(
    "answer",
    [b"", b"hello", b"HTTP/1.1 200 OK\r\nX", b"HTTP/1.1 200 OK\r\n" + b"a: " + b"b" * 300_000],
)
async def test_malformed_answer_returns_503(answer: bytes) -> None:
    async with raw(answer) as port:
        assert (await (await started(port)).client.get("/")).status_code == 503


async def test_answer_without_length_ends_with_connection() -> None:
    async with raw(b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall of it") as port:
        assert (await (await started(port)).client.get("/")).text == "all of it"


async def test_request_past_timeout_returns_504() -> None:
    async with front(timeout=0.05) as it:
        found = await it.client.get("/slow")
    assert (found.status_code, "upstream request timeout" in found.text) == (504, True)


def request(
    url: str, headers: Mapping[str, str] | None = None, *, deadline: float = 60.0
) -> delivery.DeliveryRequest:
    return delivery.DeliveryRequest("POST", url, headers or {}, b"body", deadline)


async def test_cloud_requests_pass_the_same_checks() -> None:
    async with front(public=False) as it:
        send = it.services.send
        it.guard.denied.add("run.routes.invoke")
        assert (await send(request(f"{URL}/x"))).status == 403
        it.guard.denied.clear()
        assert (await send(request(f"{URL}/x", {"Authorization": "Bearer no"}))).status == 401
        answer = await send(request(f"{URL}/x?q", bearer(f"{URL}/x?q")))
    assert answer.good
    assert b'"body":"body"' in answer.body


async def test_cloud_requests_to_other_urls_are_sent_directly() -> None:
    async with serving(APP) as port, front() as it:
        answer = await it.services.send(request(f"http://localhost:{port}/x"))
    assert answer.good
    assert f'["host","localhost:{port}"]'.encode() in answer.body


async def test_cloud_request_ends_at_its_deadline() -> None:
    async with front() as it:
        with pytest.raises(TimeoutError):
            await it.services.send(request(f"{URL}/slow", deadline=0.05))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://a..b/", "http://localhost:0/"])
async def test_unreachable_target_raises_no_answer(url: str) -> None:
    async with front() as it:
        with pytest.raises(delivery.DeliveryFailed):
            await it.services.send(request(url))


class Visit:
    """A client that says what it wants and may go away: the three ASGI arguments."""

    def __init__(self, path: str, *messages: dict[str, Any], kind: str = "http") -> None:
        self.scope = {
            "type": kind,
            "method": "POST" if messages else "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", HOST.encode())],
            "client": ("127.0.0.1", 1),
        }
        self.messages = [*messages] or [{"type": "http.request"}]
        self.leave = asyncio.Event()
        self.got: list[MutableMapping[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop(0)
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.got.append(message)
        if message.get("body"):
            self.leave.set()


async def test_endless_answer_ends_when_client_disconnects() -> None:
    async with front() as it:
        visit = Visit("/endless")
        async with asyncio.timeout(2):
            await it.app(visit.scope, visit.receive, visit.send)
    assert visit.got[0]["status"] == 200
    assert visit.got[-1]["more_body"]  # broken off, not ended


async def test_upload_ends_when_client_disconnects() -> None:
    async with front() as it:
        visit = Visit("/digest", {"type": "http.request", "body": b"x", "more_body": True})
        visit.leave.set()
        async with asyncio.timeout(2):
            await it.app(visit.scope, visit.receive, visit.send)
    assert visit.got[0]["status"] == 503


async def test_client_that_disconnects_first_opens_no_connection() -> None:
    async with front() as it:
        visit = Visit("/", {"type": "http.disconnect"})
        await it.app(visit.scope, visit.receive, visit.send)
    assert not visit.got


async def test_websockets_are_closed() -> None:
    async with front() as it:
        visit = Visit("/", kind="websocket")
        await it.app(visit.scope, visit.receive, visit.send)
    assert visit.got[0]["type"] == "websocket.close"


async def test_broken_kept_connection_is_replaced() -> None:
    served = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        served += 1
        await reader.readuntil(b"\r\n\r\n")  # the next request goes down with its connection
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        it = await started(server.sockets[0].getsockname()[1])
        for _ in range(3):
            assert (await it.client.get("/")).status_code == 200
        await it.services.stop()
    assert served == 3
