"""The front end of the services: finds one by its host name, checks the caller, passes on."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

from starlette.types import Receive, Scope, Send

from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest
from devenv.gcp.forward.connection import Pool, RawHeaders, buffered, target_of
from devenv.gcp.forward.passage import Passage, end_to_end, with_origin
from devenv.gcp.run_services.instances import InstanceNotStarted, NoInstance
from devenv.gcp.run_services.invoker import InvocationRefused, Invoker
from devenv.gcp.run_services.pages import (
    ErrorPage,
    no_instance,
    no_service,
    not_started,
    timed_out,
    unavailable,
)
from devenv.gcp.run_services.routing import Backend, ServedHost

log = logging.getLogger(__name__)

_LOCAL = "127.0.0.1"


_FAILURES = (InvocationRefused, DeliveryFailed, NoInstance, InstanceNotStarted, TimeoutError)


class Ingress:
    """An ASGI app. `hosts` is the registry of services, which changes as they are deployed."""

    def __init__(self, *, hosts: Mapping[str, ServedHost], invoker: Invoker, pool: Pool) -> None:
        self._hosts = hosts
        self._invoker = invoker
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        host, target = _host(scope["headers"]), _target(scope)
        client = (scope.get("client") or (_LOCAL, 0))[0]
        passage, timeout = Passage(scope, receive, send), 0.0
        try:
            backend, headers = self._admit(host, target, scope["headers"], client=client)
            timeout = backend.timeout
            async with asyncio.timeout(timeout), backend.reach() as origin:
                await passage.carry(self._pool, origin, target, headers)
        except _FAILURES as error:
            page = _page(host, target, error, timeout)
            # Once the answer has begun, breaking off is all that is left.
            if not passage.begun:
                await passage.answer(page.status, page.headers, page.body)

    async def answer(self, request: DeliveryRequest) -> DeliveryAnswer:
        """Take a request that is whole already, from Cloud Tasks or Cloud Scheduler."""
        host, target = urlsplit(request.url).hostname or "", target_of(request.url)
        raw = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        timeout = 0.0
        try:
            backend, headers = self._admit(host, target, raw, client=_LOCAL, is_internal=True)
            timeout = backend.timeout
            async with asyncio.timeout(timeout), backend.reach() as origin:
                return await buffered(self._pool, origin, request, headers)
        except _FAILURES as error:
            page = _page(host, target, error, timeout)
            return DeliveryAnswer(page.status, {}, page.body)

    def _admit(
        self,
        host: str,
        target: str,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        client: str,
        is_internal: bool = False,
    ) -> tuple[Backend, RawHeaders]:
        """Return where a request goes, and its headers there. Raises InvocationRefused.

        A service with internal ingress is reached by the cloud's own services only; for others it
        is not there: https://cloud.google.com/run/docs/securing/ingress.
        """
        served = self._hosts.get(host)
        if served is None or (served.is_internal and not is_internal):
            raise InvocationRefused(no_service(target))
        path = target.partition("?")[0]
        admitted = self._invoker.admit(served, path, end_to_end(headers))
        backend = served.pick()
        if backend is None:
            raise InvocationRefused(unavailable("no revision of the service is ready."))
        return backend, with_origin(admitted, host=host, client=client)


def _page(host: str, target: str, error: Exception, timeout: float) -> ErrorPage:
    if isinstance(error, InvocationRefused):
        page = error.page
    elif isinstance(error, TimeoutError):
        page = timed_out(timeout)
    elif isinstance(error, NoInstance):
        page = no_instance()
    elif isinstance(error, InstanceNotStarted):
        page = not_started(str(error))
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
