"""Cloud Storage by another server, such as fake-gcs-server, under Google's host names.

Requests are forwarded as they are, with the caller's token; the other server decides what it checks.
It must call itself storage.googleapis.com in the URLs that it returns.
"""

import asyncio
import json
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest
from devenv.gcp.errors import Unavailable
from devenv.gcp.forward.connection import Origin, Pool, buffered
from devenv.gcp.forward.passage import Passage, end_to_end
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.service import CloudService

_PATHS = (
    *("/storage/v1/", "/upload/storage/v1/", "/resumable/upload/storage/v1/"),
    *("/download/storage/v1/", "/batch/storage/v1"),
)
_HOSTS = ("storage.googleapis.com", "*.storage.googleapis.com")
_TIMEOUT = 10.0


class StorageElsewhere(CloudService):
    """The service that forwards to the other server."""

    def __init__(self, config: CloudConfig) -> None:
        self._config = config
        self._url = config.storage.rstrip("/")
        self._origin = Origin.of(self._url)
        self._pool = Pool()

    def rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def mounts(self) -> tuple[HttpMount, ...]:
        buckets = tuple(f"/{name}/" for name in self._config.buckets)
        return (
            HttpMount(_HOSTS, self, (*_PATHS, *buckets), takes_rest=True),
            HttpMount(("www.googleapis.com",), self, _PATHS),
        )

    async def start(self) -> None:
        """Create the configured buckets. Raises Unavailable if the server does not answer."""
        for name in self._config.buckets:
            try:
                answer = await self._make(name)
            except (DeliveryFailed, TimeoutError) as error:
                raise Unavailable(f"The storage server at {self._url} does not answer.") from error
            if answer.status not in (200, 409):
                raise Unavailable(
                    f"{self._url} answered {answer.status} to the creation of the bucket {name}."
                )

    async def stop(self) -> None:
        self._pool.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage = Passage(scope, receive, send)
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        query: bytes = scope["query_string"]
        target = (path + b"?" + query if query else path).decode("latin-1")
        try:
            await passage.carry(self._pool, self._origin, target, end_to_end(scope["headers"]))
        except DeliveryFailed as error:
            if not passage.begun:
                text = json.dumps({"error": {"code": 503, "message": str(error)}}).encode()
                await passage.answer(503, [(b"content-type", b"application/json")], text)

    async def _make(self, bucket: str) -> DeliveryAnswer:
        url = f"{self._url}/storage/v1/b?project={self._config.project}"
        body = json.dumps({"name": bucket}).encode()
        request = DeliveryRequest(method="POST", url=url, headers={}, body=body, deadline=_TIMEOUT)
        headers = [(b"host", b"storage.googleapis.com"), (b"content-type", b"application/json")]
        async with asyncio.timeout(_TIMEOUT):
            return await buffered(self._pool, self._origin, request, headers)
