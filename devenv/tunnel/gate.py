"""The gate between the tunnel and the worker: it forwards complete, authenticated requests only.

The order matters. The gate reads the head of a request and looks up its path, verifies the ID token
with Google's library and certificates, then reads the body; the worker sees no byte before. Each
connection carries one request.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

import requests
from cachecontrol import CacheControl
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request as GoogleRequest
from google.oauth2 import id_token

from devenv.gcp.clock import Clock, SystemClock
from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest
from devenv.tunnel import wire
from devenv.tunnel.doors import ECHO_PATH, Door, Echo, passed
from devenv.tunnel.saved import SavedRequest, SavedRequests
from devenv.tunnel.wire import Refused, RequestHead

# The same as the worker's: a token that passes here passes there.
CLOCK_SKEW_SECONDS = 10
_CERTIFICATES_TIMEOUT = 10.0
_LONGEST_TOKEN = 4096
_TOKEN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}")

Verify: TypeAlias = Callable[[str, str], str]
"""Takes a token and its audience, returns the email address. Raises the two below."""


class GateTokenRefused(Exception):
    """The token is not one of Google's for this audience; the message is a sentence."""


class GateCertificatesUnavailable(Exception):
    """Google's certificates cannot be fetched now, so that no token can be verified."""


def verify(token: str, audience: str) -> str:
    """Return the verified email address. Raises GateTokenRefused, GateCertificatesUnavailable."""
    if len(token) > _LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise GateTokenRefused("Invalid ID token.")
    try:
        claims = id_token.verify_oauth2_token(  # type: ignore[no-untyped-call]
            token, _transport(), audience=audience, clock_skew_in_seconds=CLOCK_SKEW_SECONDS
        )
    except TransportError as error:
        raise GateCertificatesUnavailable(str(error)) from error
    except (GoogleAuthError, ValueError) as error:
        raise GateTokenRefused(f"The ID token is not valid: {error}") from error
    email = str(claims.get("email", ""))
    if claims.get("email_verified") is not True or not email:
        raise GateTokenRefused("The ID token names no verified email address.")
    return email


@cache
def _transport() -> Callable[..., object]:
    # The library asks for the certificates at each token; the session obeys their Cache-Control.
    return partial(
        GoogleRequest(session=CacheControl(requests.Session())), timeout=_CERTIFICATES_TIMEOUT
    )


ToWorker: TypeAlias = Callable[[DeliveryRequest], Awaitable[DeliveryAnswer]]
"""Sends a request to the worker. Raises NoAnswer, or TimeoutError after the request's deadline."""

# The deadline that the product gives to Cloud Tasks.
WORKER_SECONDS = 1800.0
READ_SECONDS = 10.0
# Most requests at once whose token is not verified yet.
MAX_UNVERIFIED = 64
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class GateReply(NamedTuple):
    """Answer of the gate, and the line for the log."""

    data: bytes
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateContext:
    """Collaborators of a gate: paths, worker, saved requests, echo, verifier, clock."""

    doors: Mapping[str, Door]
    worker: ToWorker
    saved: SavedRequests
    echo: Echo
    verify: Verify = verify
    clock: Clock = field(default_factory=SystemClock)

    @property
    def callers(self) -> set[str]:
        return {caller for door in self.doors.values() for caller in door.callers}


class Gate:
    """Server on the loopback interface. Without `origin`, the public URL, it refuses everything."""

    def __init__(self, house: GateContext) -> None:
        self._house = house
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unverified = 0
        self.origin = ""

    async def start(self, port: int = 0) -> int:
        """Listen; return the port. Raises OSError."""
        self._house.echo.forget()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=wire.MAX_HEAD
        )
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            reply = await self.handle(reader)
            log.info("%s", _printable(reply.told))
            writer.write(reply.data)
            await writer.drain()
            await _linger(reader, writer)
        except (OSError, EOFError, TimeoutError) as error:
            log.info("A connection ended before it was answered: %s.", type(error).__name__)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def handle(self, reader: asyncio.StreamReader) -> GateReply:
        """Answer the one request that `reader` brings. Raises EOFError, TimeoutError."""
        where = "a request"
        try:
            with self._unverified_slot():
                head = await _head(reader)
                where = f"{head.method} {head.target}"
                if head.target.startswith(ECHO_PATH):
                    return await self._echo(head)
                door, length = self._door(head), head.length
                caller = await self._known(head, door.callers)
            body = await _body(reader, length)
            return await self._pass(door, head, body, caller)
        except Refused as refused:
            told = f"Refused {where} with {refused.status}: {refused.reason}"
            return GateReply(wire.refusal(refused), told)

    @contextmanager
    def _unverified_slot(self) -> Iterator[None]:
        if self._unverified >= MAX_UNVERIFIED:
            raise Refused(503, "Too many unverified requests; try again.")
        self._unverified += 1
        try:
            yield
        finally:
            self._unverified -= 1

    def _door(self, head: RequestHead) -> Door:
        door = self._house.doors.get(head.target)
        if door is None:
            raise Refused(404, "Not found.")
        if head.method != "POST":
            raise Refused(405, "This path takes POST.")
        return door

    async def _known(self, head: RequestHead, callers: Collection[str]) -> str:
        """Return the caller. Raises Refused unless a token of Google's names an allowed one."""
        if not self.origin:
            raise Refused(503, "The tunnel is not open yet.")
        token = _bearer(head)
        try:
            email = await asyncio.to_thread(self._house.verify, token, self.origin)
        except GateTokenRefused as error:
            raise Refused(401, str(error)) from error
        except GateCertificatesUnavailable as error:
            raise Refused(503, f"Callers cannot be verified now: {error}") from error
        if email not in callers:
            raise Refused(403, f"{email} may not call this path.")
        return email

    async def _pass(self, door: Door, head: RequestHead, body: bytes, caller: str) -> GateReply:
        fields = passed(head.fields)
        if door.keep:
            self._keep(door, head, body, caller)
        request = DeliveryRequest(
            method="POST",
            url=head.target,
            headers=dict(fields) | {"host": urlsplit(self.origin).netloc, **_OVER_TLS},
            body=body,
            deadline=WORKER_SECONDS,
        )
        try:
            answer = await self._house.worker(request)
        except (DeliveryFailed, TimeoutError) as error:
            raise Refused(503, f"The worker does not answer: {error}") from error
        kind = answer.headers.get("content-type", "application/octet-stream")
        told = f"Forwarded {caller}: POST {head.target} ({len(body)} bytes): {answer.status}."
        return GateReply(wire.answer(answer.status, answer.body, kind), told)

    def _keep(self, door: Door, head: RequestHead, body: bytes, caller: str) -> None:
        """Save a request for a replay; a full disk must not fail it."""
        saved = SavedRequest(
            path=head.target,
            caller=caller,
            body=body.decode("utf-8", "replace"),
            headers=dict(passed(head.fields)),
        )
        try:
            self._house.saved.keep(saved, member=door.keep, now=self._house.clock.now())
        except OSError as error:
            log.warning("A request is not kept and cannot be replayed: %s.", error.strerror)

    async def _echo(self, head: RequestHead) -> GateReply:
        """Answer a check with its nonce, and with the result of verifying its token."""
        answer = self._house.echo.answer(head.target)
        if not answer:
            raise Refused(404, "Not found.")
        told = {"answer": answer, "caller": "", "refusal": ""}
        if head.all("authorization"):
            try:
                told["caller"] = await self._known(head, self._house.callers)
            except Refused as refused:
                told["refusal"] = refused.reason
        return GateReply(
            wire.answer(200, json.dumps(told).encode()), "Answered a check of our own."
        )


_OVER_TLS = {"x-forwarded-proto": "https"}
_LONGEST_LINE = 1000


def _printable(text: str) -> str:
    """Return a text as one printable line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_LINE])


def _bearer(head: RequestHead) -> str:
    presented = head.all("authorization")
    if len(presented) != 1:
        raise Refused(401, "One ID token is needed: Authorization: Bearer <token>.")
    scheme, _, token = presented[0].partition(" ")
    if scheme.lower() != "bearer":
        raise Refused(401, "An ID token is needed: Authorization: Bearer <token>.")
    return token.strip()


async def _head(reader: asyncio.StreamReader) -> RequestHead:
    try:
        async with asyncio.timeout(READ_SECONDS):
            data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise Refused(431, f"At most {wire.MAX_HEAD} bytes of headers are read.") from error
    except TimeoutError as error:
        raise Refused(408, "The headers took too long.") from error
    return wire.parse(data.removesuffix(b"\r\n\r\n"))


async def _body(reader: asyncio.StreamReader, length: int) -> bytes:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await reader.readexactly(length)
    except TimeoutError as error:
        raise Refused(408, "The body took too long.") from error


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read what is still being sent: closing with unread bytes would reset the connection."""
    writer.write_eof()
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while left > 0 and (data := await reader.read(65536)):
                left -= len(data)
    except TimeoutError:
        return
