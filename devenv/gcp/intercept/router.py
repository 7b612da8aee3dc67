"""The ways of requests by host: which hosts the proxy takes, and which service answers them.

Emulated are Google's API hosts, the hosts of Cloud Run services, and the host of account tokens.
This machine itself and the hosts of `gcp.allow_hosts` are reached as they are. All others are
refused with a line that says how to allow them, so that nothing is sent out by accident.

Services mount applications under host patterns and path prefixes. On the plain port, where clients
send no host of Google's, the prefix alone decides. Requests that no mount takes go to the REST
application. Each mounted request is an entry of the journal and may be struck by a fault. Before
the router, requests for unknown hosts and those of pages of other sites are refused.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devenv.gcp.errors import CloudError, PermissionDenied, refuse_on_full_disk
from devenv.gcp.faults import AnswerLost, Faults, OpenStream
from devenv.gcp.journal import Journal, trace_of
from devenv.gcp.rpc import HttpMount
from devenv.gcp.rpc.hosts import service_at
from devenv.gcp.rpc.rest import broken_off, failure
from devenv.local_only import host_of, is_local, refusal

_EMULATED = ("*.googleapis.com", "*.run.app", "accounts.google.com")


def certified(region: str) -> tuple[str, ...]:
    """Return the host names in the emulator's certificate."""
    # A wildcard stands for one label, so each further label needs its own entry.
    return (
        "*.googleapis.com",
        "*.mtls.googleapis.com",
        "*.p.googleapis.com",
        f"*.{region}.rep.googleapis.com",
        "*.storage.googleapis.com",
        "*.run.app",
        "*.a.run.app",
        f"*.{region}.run.app",
        "accounts.google.com",
        "localhost",
        "*.localhost",
    )


class Hosts:
    """The rules for hosts that clients ask the proxy for."""

    def __init__(self, allowed: Iterable[str], *, loopback: bool = True) -> None:
        """Let clients reach this machine's own services if `loopback`."""
        self._loopback = loopback
        self._allowed = tuple(pattern.lower() for pattern in allowed)

    def emulated(self, host: str) -> bool:
        return _matches(host, _EMULATED)

    def passed(self, host: str) -> bool:
        """Return whether `host` is reached as it is: this machine, or an allowed host."""
        return (self._loopback and is_local(host)) or _matches(host, self._allowed)

    def refusal(self, host: str) -> str:
        """Return one line that says why `host` is refused and how to allow it."""
        return (
            f"{host} is not emulated, and nothing leaves this machine; "
            f'to let it through put "{host}" in gcp.allow_hosts of devenv.toml'
        )


@lru_cache(maxsize=256)
def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(host.lower(), pattern) for pattern in patterns)


CONTROL = "/_devenv/"
_HEALTH = f"{CONTROL}health"


class SiteCheck:
    """Middleware that refuses requests for unknown hosts, and those of pages of other sites.

    Known are the hosts that are `emulated`, and this machine with its further `names`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        journal: Journal,
        emulated: Callable[[str], bool],
        names: Iterable[str],
    ) -> None:
        self._app = app
        self._journal = journal
        self._emulated = emulated
        self._names = tuple(names)
        self._refusal = lru_cache(maxsize=256)(self._find_refusal)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        sent = dict(scope["headers"])  # of several with one name the last
        reason = self._refusal(sent.get(b"host"), sent.get(b"origin"))
        if reason and scope["path"] != _HEALTH:
            host = _host_name(sent.get(b"host"))
            self._journal.add_refusal(scope["method"], host, scope["path"], PermissionDenied.http)
            return failure(PermissionDenied(reason))(scope, receive, send)
        return self._app(scope, receive, send)

    def _find_refusal(self, host: bytes | None, page: bytes | None) -> str:
        """Return why a request does not get through, empty if it does; `page` is its Origin.

        A browser that sends a host of Google's came through the proxy, where the Origin is that of
        the page under test. A program may send no Host at all.
        """
        name = _host_name(host)
        if not name or self._emulated(name):
            return ""
        headers = Headers(raw=[(b"host", host or b""), (b"origin", page or b"")])
        origin = host_of(headers["origin"])
        return refusal(headers, (*self._names, *([origin] if self._emulated(origin) else [])))


class Router:
    """The ASGI application of all HTTP connections except those of the metadata server."""

    def __init__(
        self,
        mounts: Iterable[HttpMount],
        rest: ASGIApp,
        *,
        control: ASGIApp,
        journal: Journal,
        faults: Faults,
        who: Callable[[str], str],
    ) -> None:
        """Name callers in the journal by `who`, which reads an Authorization header."""
        self._mounts = tuple(mounts)
        self._at = lru_cache(maxsize=256)(self._mounts_at)
        self._rest = rest
        self._control = control
        self._journal = journal
        self._faults = faults
        self._who = who

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        sent = dict(scope["headers"])  # of several with one name the last
        host = _host_name(sent.get(b"host"))
        if mount := self._find(host, scope["path"]):
            return self._mounted(mount, host, sent, scope, receive, send)
        if scope["path"].startswith(CONTROL):
            return self._control(scope, receive, send)
        return self._rest(scope, receive, send)

    def _find(self, host: str, path: str) -> HttpMount | None:
        by_path, rest = self._at(host)
        for mount in by_path:
            if path.startswith(mount.paths):
                return mount
        return rest

    def _mounts_at(self, host: str) -> tuple[list[HttpMount], HttpMount | None]:
        """Return the mounts that paths decide between at a host, and the one for all other paths."""
        service = service_at(host)
        here = self._with_host(host)
        if service and not here:
            here = self._with_host(f"{service}.googleapis.com")
        found = here if service else here or self._mounts
        return [m for m in found if m.paths], next((m for m in here if m.takes_rest), None)

    def _with_host(self, host: str) -> list[HttpMount]:
        return [m for m in self._mounts if any(fnmatchcase(host, p) for p in m.hosts)]

    async def _mounted(
        self,
        mount: HttpMount,
        host: str,
        sent: Mapping[bytes, bytes],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        method, resource = mount.method(scope["method"], scope["path"]), f"{host}{scope['path']}"
        with self._journal.entry(method, resource[:500]) as entry:
            entry.caller = self._who(sent.get(b"authorization", b"").decode("latin-1"))
            entry.trace = _trace(sent.get(b"traceparent"), sent.get(b"x-cloud-trace-context"))
            answer = _MountAnswer(send, self._faults.stream(entry))
            try:
                async with self._faults.strike(entry) as fault:
                    is_lost = fault is not None and fault.lose_answer
                    with answer.parts, refuse_on_full_disk(method):
                        await mount.app(scope, receive, answer.hold if is_lost else answer.send)
            except CloudError as error:
                if answer.status or isinstance(error, AnswerLost):
                    await broken_off(send)
                else:
                    await failure(error)(scope, receive, answer.send)
            finally:
                entry.status = answer.status


class _MountAnswer:
    """The way back to the client, on which the status is noted and an answer may be held for ever.

    An answer of several parts is a `stream`, which closes with `parts`.
    """

    __slots__ = ("_send", "_stream", "parts", "status")

    def __init__(self, send: Send, stream: OpenStream) -> None:
        self._send = send
        self._stream = stream
        self.parts = ExitStack()
        self.status = ""

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = str(message["status"])
        elif message.get("more_body"):
            return self._send_part(message)
        return self._send(message)

    async def _send_part(self, message: Message) -> None:
        if not self._stream.is_open:
            self.parts.enter_context(self._stream)
        await self._stream.ready()
        await self._send(message)

    async def hold(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = str(message["status"])


@lru_cache(maxsize=256)
def _host_name(header: bytes | None) -> str:
    return (header or b"").decode("latin-1").partition(":")[0].lower()


def _trace(parent: bytes | None, context: bytes | None) -> str:
    if not parent and not context:
        return ""
    sent = {"traceparent": parent, "x-cloud-trace-context": context}
    return trace_of({name: value.decode("latin-1") for name, value in sent.items() if value})
