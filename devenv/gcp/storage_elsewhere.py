"""Cloud Storage that another server provides (fake-gcs-server, say): found under Google's names.

What that server does not check is not checked; `docs/fidelity.md` says what that is.
"""

import asyncio
import json
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import Answer, NoAnswer, Request
from devenv.gcp.errors import Unavailable
from devenv.gcp.forward.headers import end_to_end
from devenv.gcp.forward.passage import Passage
from devenv.gcp.forward.pool import Origin, Pool, buffered
from devenv.gcp.rpc import Mount, Rpc

_PATHS = ("/storage/v1/", "/upload/storage/v1/", "/download/storage/v1/", "/batch/storage/v1")
_HOSTS = ("storage.googleapis.com", "*.storage.googleapis.com")
_PATIENCE = 10.0


class StorageElsewhere:
    """The server must call itself storage.googleapis.com in the URLs that it tells."""

    def __init__(self, config: CloudConfig) -> None:
        self._config = config
        self._url = config.storage.rstrip("/")
        self._origin = Origin.of(self._url)
        self._pool = Pool()

    def rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def mounts(self) -> tuple[Mount, ...]:
        buckets = tuple(f"/{name}/" for name in self._config.buckets)
        return (
            Mount(_HOSTS, self, (*_PATHS, *buckets)),
            Mount(("www.googleapis.com",), self, _PATHS),
        )

    async def start(self) -> None:
        """Make the configured buckets. Raises Unavailable if nobody answers."""
        for name in self._config.buckets:
            try:
                answer = await self._make(name)
            except (NoAnswer, TimeoutError) as error:
                raise Unavailable(f"The storage server at {self._url} does not answer.") from error
            if answer.status not in (200, 409):
                raise Unavailable(f"{self._url} does not make the bucket {name}: {answer.status}.")

    async def stop(self) -> None:
        self._pool.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage = Passage(scope, receive, send)
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        query: bytes = scope["query_string"]
        target = (path + b"?" + query if query else path).decode("latin-1")
        try:
            await passage.carry(self._pool, self._origin, target, end_to_end(scope["headers"]))
        except NoAnswer as error:
            if not passage.begun:
                text = json.dumps({"error": {"code": 503, "message": str(error)}}).encode()
                await passage.answer(503, [(b"content-type", b"application/json")], text)

    async def _make(self, bucket: str) -> Answer:
        url = f"{self._url}/storage/v1/b?project={self._config.project}"
        body = json.dumps({"name": bucket}).encode()
        request = Request(method="POST", url=url, headers={}, body=body, deadline=_PATIENCE)
        headers = [(b"host", b"storage.googleapis.com"), (b"content-type", b"application/json")]
        async with asyncio.timeout(_PATIENCE):
            return await buffered(self._pool, self._origin, request, headers)
