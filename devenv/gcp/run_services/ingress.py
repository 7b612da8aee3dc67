"""The front end of the services: finds one by its host name, checks the caller, passes on."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

from starlette.types import Receive, Scope, Send

from devenv.gcp.config import ServiceConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest
from devenv.gcp.forward.connection import Origin, Pool, RawHeaders, buffered, target_of
from devenv.gcp.forward.passage import Passage, end_to_end, with_origin
from devenv.gcp.run_services.invoker import InvocationRefused, Invoker
from devenv.gcp.run_services.pages import ErrorPage, no_service, timed_out, unavailable

log = logging.getLogger(__name__)

_LOCAL = "127.0.0.1"


class Ingress:
    """An ASGI app. `services` are by host name; `timeout` in seconds is that of every request."""

    def __init__(
        self, *, services: Mapping[str, ServiceConfig], invoker: Invoker, pool: Pool, timeout: float
    ) -> None:
        self._services = services
        self._invoker = invoker
        self._pool = pool
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        host, target = _host(scope["headers"]), _target(scope)
        client = (scope.get("client") or (_LOCAL, 0))[0]
        passage = Passage(scope, receive, send)
        try:
            origin, headers = self._admit(host, target, scope["headers"], client=client)
            async with asyncio.timeout(self._timeout):
                await passage.carry(self._pool, origin, target, headers)
        except (InvocationRefused, DeliveryFailed, TimeoutError) as error:
            page = self._page(host, target, error)
            # Once the answer has begun, breaking off is all that is left.
            if not passage.begun:
                await passage.answer(page.status, page.headers, page.body)

    async def answer(self, request: DeliveryRequest) -> DeliveryAnswer:
        """Take a request that is whole already, from Cloud Tasks or Cloud Scheduler."""
        host, target = urlsplit(request.url).hostname or "", target_of(request.url)
        raw = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        try:
            origin, headers = self._admit(host, target, raw, client=_LOCAL)
            async with asyncio.timeout(self._timeout):
                return await buffered(self._pool, origin, request, headers)
        except (InvocationRefused, DeliveryFailed, TimeoutError) as error:
            page = self._page(host, target, error)
            return DeliveryAnswer(page.status, {}, page.body)

    def _admit(
        self, host: str, target: str, headers: Iterable[tuple[bytes, bytes]], *, client: str
    ) -> tuple[Origin, RawHeaders]:
        service = self._services.get(host)
        if not service:
            raise InvocationRefused(no_service(target))
        path = target.partition("?")[0]
        admitted = self._invoker.admit(service, path, end_to_end(headers))
        return Origin(service.host, service.port), with_origin(admitted, host=host, client=client)

    def _page(self, host: str, target: str, error: Exception) -> ErrorPage:
        if isinstance(error, InvocationRefused):
            page = error.page
        elif isinstance(error, TimeoutError):
            page = timed_out(self._timeout)
        else:
            page = unavailable(str(error))
        path = target.partition("?")[0]
        log.warning("https://%s%s: %d %s", host[:100], path[:500], page.status, page.log)
        return page


def _host(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the host name that the client asked for, without a port."""
    named = next((value for name, value in headers if name == b"host"), b"")
    return named.decode("latin-1").partition(":")[0].lower()


def _target(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")
