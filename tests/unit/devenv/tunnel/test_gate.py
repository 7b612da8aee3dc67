"""Unit tests of the gate: requests that it forwards and requests that it refuses."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from config import urls_worker
from devenv.gcp.clock import ManualClock
from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest
from devenv.tunnel import gate as gates, wire
from devenv.tunnel.doors import Echo, doors
from devenv.tunnel.gate import Gate, GateCertificatesUnavailable, GateContext, GateTokenRefused
from devenv.tunnel.saved import SavedRequests, load
from tests.declared import config_in
from tests.unit.devenv.tunnel.samples import (
    CALLBACKS,
    CAPABILITIES,
    PATHS,
    SCHEDULER,
    SWEEP,
    TASK_PATH,
    TASKS as QUEUE,
    URL,
    VALIDATOR,
    config,
)

pytestmark = pytest.mark.anyio

RUN = "5f0c8f6e-7a57-4a44-9f0e-4a2f5a1f6d11"
BODY = json.dumps({"run_id": RUN}).encode()


def verify(token: str, audience: str) -> str:
    """Read tokens of the form `email|audience`."""
    if token == "unavailable":
        raise GateCertificatesUnavailable("no network")
    email, bar, made_for = token.partition("|")
    if not bar or made_for != audience:
        raise GateTokenRefused("The ID token is not valid.")
    return email


@dataclass
class Worker:
    """Sees what passed; answers with `status`, with nothing when it is 0."""

    status: int = 200
    seen: list[DeliveryRequest] = field(default_factory=list)

    async def __call__(self, request: DeliveryRequest) -> DeliveryAnswer:
        self.seen.append(request)
        if not self.status:
            raise DeliveryFailed("127.0.0.1:8001 cannot be reached.")
        return DeliveryAnswer(
            self.status, {"content-type": "application/json"}, b'{"message": "ok"}'
        )


class Lane:
    """A gate with a worker behind it, and raw requests before it."""

    def __init__(self, folder: Path, worker: Worker) -> None:
        self.worker = worker
        self.echo = Echo(folder / "echo")
        self.folder = folder / "requests"
        house = GateContext(
            doors=doors(config(), PATHS),
            worker=worker,
            saved=SavedRequests(self.folder),
            echo=self.echo,
            verify=verify,
            clock=ManualClock(),
        )
        self.gate = Gate(house)
        self.gate.origin = URL

    async def send(self, data: bytes, *, end: bool = False) -> tuple[int, dict[str, Any]]:
        reader = asyncio.StreamReader(limit=wire.MAX_HEAD)
        reader.feed_data(data)
        if end:
            reader.feed_eof()
        reply = await self.gate.handle(reader)
        head, _, body = reply.data.partition(b"\r\n\r\n")
        assert b"Connection: close" in head
        self.told = reply.told
        return int(head.split()[1]), json.loads(body)

    async def post(self, path: str, token: str, body: bytes = BODY, **more: str) -> int:
        status, _ = await self.send(request(path, token, body, **more))
        return status


def request(path: str, token: str, body: bytes = BODY, **more: str) -> bytes:
    fields = {"Host": "dev.example.com", "Content-Length": str(len(body))} | more
    if token:
        fields["Authorization"] = f"Bearer {token}"
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def token(email: str, audience: str = URL) -> str:
    return f"{email}|{audience}"


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    return Lane(tmp_path, Worker())


@pytest.mark.parametrize(
    ("door", "caller"),
    [(TASK_PATH, QUEUE), (CALLBACKS, VALIDATOR), (CAPABILITIES, VALIDATOR), (SWEEP, SCHEDULER)],
)
async def test_declared_caller_is_forwarded(lane: Lane, door: str, caller: str) -> None:
    status, answer = await lane.send(request(door, token(caller)))

    assert (status, answer) == (200, {"message": "ok"})
    assert (lane.worker.seen[0].url, lane.worker.seen[0].body) == (door, BODY)
    assert lane.told == f"Forwarded {caller}: POST {door} ({len(BODY)} bytes): 200."


@pytest.mark.parametrize(
    ("door", "caller"),
    [(TASK_PATH, VALIDATOR), (CALLBACKS, QUEUE), (SWEEP, QUEUE), (TASK_PATH, "me@example.com")],
)
async def test_other_caller_is_refused(lane: Lane, door: str, caller: str) -> None:
    assert await lane.post(door, token(caller)) == 403
    assert lane.worker.seen == []


@pytest.mark.parametrize(
    ("presented", "status"),
    [
        ("", 401),
        ("nonsense", 401),
        (token(VALIDATOR, "https://elsewhere.example"), 401),
        (token(VALIDATOR, f"{URL}/"), 401),
        ("unavailable", 503),
    ],
)
async def test_invalid_token_is_refused_before_worker(
    lane: Lane, presented: str, status: int
) -> None:
    assert await lane.post(CALLBACKS, presented) == status
    assert lane.worker.seen == []
    assert not lane.folder.exists()


async def test_two_authorization_headers_are_refused(lane: Lane) -> None:
    again = f"Bearer {token(VALIDATOR)}"

    assert await lane.post(CALLBACKS, token(VALIDATOR), authorization=again) == 401


async def test_basic_authorization_is_refused(lane: Lane) -> None:
    assert await lane.post(CALLBACKS, "", Authorization="Basic bWU6c2VjcmV0") == 401


async def test_request_before_public_url_is_refused(lane: Lane) -> None:
    lane.gate.origin = ""

    assert await lane.post(CALLBACKS, token(VALIDATOR, "")) == 503


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/health/", "/admin/", "/internal/", "/internal/callbacks", "/INTERNAL/CALLBACKS/"),
        *("/internal/tasks/../callbacks/", "/./internal/callbacks/", "//internal/callbacks/"),
        *("/internal%2fcallbacks/", "/internal/callbacks/%2e%2e/", "/internal\\callbacks/"),
        *("/internal/callbacks/?x=1", "/internal/callbacks/#x", "/internal/callbacks/;x"),
        *("http://127.0.0.1:8001/internal/callbacks/", "https://dev.example.com/internal/tasks/"),
        *("*", "internal/callbacks/", "/internal/callbacks/\x80", "/" + "a" * 600),
        *("/devenv-tunnel/", "/devenv-tunnel/" + "0" * 32, "/devenv-tunnel/../../secrets.env"),
    ],
)
async def test_undeclared_path_returns_404(lane: Lane, target: str) -> None:
    assert await lane.post(target, token(VALIDATOR)) == 404
    assert lane.worker.seen == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
async def test_method_other_than_post_is_refused(lane: Lane, method: str) -> None:
    data = request(CALLBACKS, token(VALIDATOR)).replace(b"POST", method.encode(), 1)

    assert (await lane.send(data))[0] == 405


HEAD = f"POST {CALLBACKS} HTTP/1.1\r\nAuthorization: Bearer {token(VALIDATOR)}\r\n"
SMUGGLED = f"{HEAD}Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (f"{HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}", 411),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (f"{HEAD}Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 0\r\nContent-Length: 44\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 0, 44\r\n\r\n", 400),
        (f"{HEAD}Content-Length: +1\r\n\r\nx", 400),
        (f"{HEAD}Content-Length: 0x1\r\n\r\nx", 400),
        (f"{HEAD}Content-Length: -1\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 0\r\n X: folded\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 0\nX: bare\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 0\rX: bare\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 0\r\nX: nul\0\r\n\r\n", 400),
        (f"{HEAD}\r\n\r\n", 411),
        (f"POST  {CALLBACKS} HTTP/1.1\r\n\r\n", 400),
        (f"POST {CALLBACKS}\r\n\r\n", 400),
        (f"POST {CALLBACKS} HTTP/1.0\r\n\r\n", 411),
        (f"POST {CALLBACKS} HTTP/1.2\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 0\xa0\r\n\r\n", 400),
        (f"POST {CALLBACKS} HTTP/2.0\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\n", 400),
        ("\x16\x03\x01\r\n\r\n", 400),
        (f"{HEAD}{'X: y' * 9}\r\n" + "X: y\r\n" * 70 + "\r\n", 431),
        (f"{HEAD}X: {'y' * 20_000}\r\n\r\n", 431),
        (f"{HEAD}Content-Length: 65537\r\n\r\n", 413),
    ],
)
async def test_ambiguous_request_is_refused(lane: Lane, data: str, status: int) -> None:
    assert (await lane.send(data.encode("latin-1")))[0] == status
    assert lane.worker.seen == []


async def test_http_1_0_request_is_forwarded(lane: Lane) -> None:
    data = request(CALLBACKS, token(VALIDATOR)).replace(b"HTTP/1.1", b"HTTP/1.0")

    assert (await lane.send(data))[0] == 200


async def test_second_request_on_connection_is_not_read(lane: Lane) -> None:
    first = request(CALLBACKS, token(VALIDATOR))

    assert (await lane.send(first + request(TASK_PATH, token(QUEUE))))[0] == 200
    assert [each.url for each in lane.worker.seen] == [CALLBACKS]


async def test_proxy_headers_are_not_forwarded(lane: Lane) -> None:
    await lane.post(
        *(TASK_PATH, token(QUEUE)),
        X_CloudTasks_TaskName="t-1",
        X_Forwarded_For="1.2.3.4",
        X_Forwarded_Host="evil",
        Cookie="a=b",
        Connection="X-CloudTasks-TaskName",
        Content_Type="application/json",
    )

    assert lane.worker.seen[0].headers == {
        "host": "dev.example.com",
        "authorization": f"Bearer {token(QUEUE)}",
        "content-type": "application/json",
        "x-cloudtasks-taskname": "t-1",
        "x-forwarded-proto": "https",
    }


async def test_truncated_body_is_not_forwarded(lane: Lane) -> None:
    data = request(CALLBACKS, token(VALIDATOR))

    with pytest.raises(asyncio.IncompleteReadError):
        await lane.send(data[:-1], end=True)
    assert lane.worker.seen == []


@pytest.mark.parametrize("cut", [20, -1])
async def test_slow_request_times_out(
    lane: Lane, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "READ_SECONDS", 0.01)

    assert (await lane.send(request(CALLBACKS, token(VALIDATOR))[:cut]))[0] == 408


async def test_too_many_unverified_requests_are_refused(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "MAX_UNVERIFIED", 1)
    waiting = asyncio.create_task(lane.gate.handle(asyncio.StreamReader()))
    await asyncio.sleep(0)

    assert await lane.post(CALLBACKS, token(VALIDATOR)) == 503
    waiting.cancel()


async def test_callback_is_saved_without_token(lane: Lane) -> None:
    await lane.post(CALLBACKS, token(VALIDATOR), Content_Type="application/json")

    (file,) = lane.folder.iterdir()
    saved = load(file)
    assert file.stem.endswith(RUN)
    assert (saved.path, saved.caller, saved.body) == (CALLBACKS, VALIDATOR, BODY.decode())
    assert saved.headers == {"content-type": "application/json"}
    assert file.stat().st_mode & 0o077 == 0
    assert VALIDATOR + "|" not in file.read_text()


async def test_callback_is_saved_while_worker_is_down(lane: Lane) -> None:
    lane.worker.status = 0

    assert await lane.post(CALLBACKS, token(VALIDATOR)) == 503
    assert len(list(lane.folder.iterdir())) == 1


async def test_callback_is_forwarded_when_saving_fails(lane: Lane) -> None:
    lane.folder.write_text("a file where the folder should be")

    assert await lane.post(CALLBACKS, token(VALIDATOR)) == 200
    assert [each.url for each in lane.worker.seen] == [CALLBACKS]


@pytest.mark.parametrize(("door", "caller"), [(TASK_PATH, QUEUE), (CAPABILITIES, VALIDATOR)])
async def test_only_callbacks_are_saved(lane: Lane, door: str, caller: str) -> None:
    await lane.post(door, token(caller))

    assert not lane.folder.exists()


def test_gate_has_every_path_of_worker(tmp_path: Path) -> None:
    """Except that by which `deploy verify` asks a deployed worker what it lacks."""
    paths = {f"/{pattern.pattern}" for pattern in urls_worker.urlpatterns}

    tunnel = config_in(tmp_path).stacks[("tunnel",)].tunnel
    assert tunnel
    assert paths - {"/", "/internal/access/"} == {one.path for one in tunnel.paths}


@pytest.mark.parametrize("status", [200, 400, 409, 500])
async def test_answer_of_worker_is_unchanged(lane: Lane, status: int) -> None:
    lane.worker.status = status

    assert await lane.post(CALLBACKS, token(VALIDATOR)) == status


async def test_echo_nonce_is_answered_once(lane: Lane) -> None:
    question = lane.echo.ask()
    asked = request(question.path, "")

    assert (await lane.send(asked))[1]["answer"] == question.answer
    assert (await lane.send(asked))[0] == 404


@pytest.mark.parametrize(
    ("presented", "caller", "refusal"),
    [
        (token(QUEUE), QUEUE, ""),
        (token("me@example.com"), "", "me@example.com may not call"),
        ("forged", "", "The ID token is not valid."),
    ],
)
async def test_echo_reports_verification_of_token(
    lane: Lane, presented: str, caller: str, refusal: str
) -> None:
    _, told = await lane.send(request(lane.echo.ask().path, presented))

    assert told["caller"] == caller
    assert told["refusal"].startswith(refusal)
    assert lane.worker.seen == []
