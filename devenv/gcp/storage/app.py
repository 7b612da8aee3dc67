"""The HTTP side of Cloud Storage: finds the method of a request, its caller and its answer."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.caller import Authenticator, Caller, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import CloudError, InvalidArgument, NotFound
from devenv.gcp.storage import batch
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.errors import MethodNotAllowed, as_json, as_xml
from devenv.gcp.storage.exchange import Exchange, base_of, decode, pairs_of, raw_path
from devenv.gcp.storage.json_api import JsonApi
from devenv.gcp.storage.media import Media
from devenv.gcp.storage.resources import Shapes
from devenv.gcp.storage.signed import SignedRequest, Verifier, is_signed
from devenv.gcp.storage.xml_api import XmlApi

type Handler = Callable[..., Awaitable[Response]]
type Methods = Mapping[str, Handler]
type Route = tuple[re.Pattern[str], Methods]

JSON_PATHS = ("/storage/v1/", "/upload/storage/v1/", "/download/storage/v1/", "/batch/storage/v1")
_HOST_SUFFIX = ".storage.googleapis.com"
_SECRET_KEYS = ("x-goog-encryption-algorithm", "x-goog-copy-source-encryption-algorithm")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the app asks about callers and their rights."""

    authenticator: Authenticator
    verifier: Verifier
    guard: Guard


class StorageApp:
    """An ASGI app. Paths are matched as they were sent, since names may contain `%2F`."""

    def __init__(
        self,
        config: CloudConfig,
        *,
        clock: Clock,
        trust: Trust,
        json_api: JsonApi,
        xml_api: XmlApi,
        media: Media,
    ) -> None:
        self._config = config
        self._clock = clock
        self._trust = trust
        self._xml_api = xml_api
        self._media = media
        self._json_api = json_api
        self._routes = self._table()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        """Answer one request; errors come in the shape of the API that it belongs to."""
        as_response = as_json
        try:
            path = raw_path(request)
            if path.startswith(JSON_PATHS):
                handler, names = self._find(request.method, path)
                return await handler(self._exchange(request, path), *names)
            as_response = as_xml
            bucket, name = _plain_names(request, path)
            return await self._xml_api.handle(self._exchange(request, path), bucket, name)
        except CloudError as error:
            return as_response(error)
        except ClientDisconnect:
            return Response(status_code=499)

    def _find(self, method: str, path: str) -> tuple[Handler, Sequence[str]]:
        for pattern, handlers in self._routes:
            if match := pattern.fullmatch(path):
                if handler := handlers.get(method):
                    return handler, [decode(name) for name in match.groups()]
                raise MethodNotAllowed("The method is not allowed for this resource.")
        raise NotFound("Not Found")

    def _exchange(self, request: Request, path: str) -> Exchange:
        pairs = pairs_of(request)
        query = dict(pairs)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in request.scope["headers"]
        }
        if any(key in headers for key in _SECRET_KEYS):
            raise InvalidArgument("Customer-supplied encryption keys are not emulated.")
        if is_signed(query):
            signed = SignedRequest(request.method, path, pairs, headers)
            caller = Caller(signed.signer(self._trust.verifier, self._clock.now()))
        elif "authorization" in headers:
            caller = self._trust.authenticator.caller(headers)
        else:
            caller = Caller()
        return Exchange(
            request=request,
            path=path,
            pairs=pairs,
            query=query,
            headers=headers,
            access=Access(self._trust.guard, caller, self._config.project),
            shapes=Shapes(base_of(request), self._config.number, self._config.region),
        )

    async def _object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        if exchange.query.get("alt") == "media":
            return await self._media.download(exchange, bucket, name)
        return await self._json_api.get_object(exchange, bucket, name)

    async def _batch(self, exchange: Exchange) -> Response:
        return await batch.handle(exchange, self.respond)

    def _table(self) -> list[Route]:
        """Return the JSON API's paths, the most used first; `*` is one name."""
        json, media = self._json_api, self._media
        upload: Methods = {"POST": media.upload, "PUT": media.upload, "DELETE": media.cancel}
        item: Methods = {
            "GET": self._object,
            "PATCH": json.patch_object,
            "PUT": json.patch_object,
            "DELETE": json.delete_object,
        }
        bucket: Methods = {
            "GET": json.get_bucket,
            "PATCH": json.patch_bucket,
            "PUT": json.patch_bucket,
            "DELETE": json.delete_bucket,
        }
        table: dict[str, Methods] = {
            "/download/storage/v1/b/*/o/*": {"GET": media.download},
            "/upload/storage/v1/b/*/o": upload,
            "/storage/v1/b/*/o/*": item,
            "/storage/v1/b/*/o": {"GET": json.list_objects},
            "/storage/v1/b/*": bucket,
            "/storage/v1/b": {"GET": json.list_buckets, "POST": json.insert_bucket},
            "/storage/v1/b/*/o/*/compose": {"POST": json.compose},
            "/storage/v1/b/*/o/*/copyTo/b/*/o/*": {"POST": json.copy},
            "/storage/v1/b/*/o/*/rewriteTo/b/*/o/*": {"POST": json.rewrite},
            "/storage/v1/b/*/o/*/moveTo/o/*": {"POST": json.move},
            "/storage/v1/b/*/iam/testPermissions": {"GET": json.test_permissions},
            "/batch/storage/v1": {"POST": self._batch},
        }
        return [(re.compile(path.replace("*", "([^/]+)")), table[path]) for path in table]


def _plain_names(request: Request, path: str) -> tuple[str, str]:
    """Return bucket and object of `/bucket/object`, or of `/object` on the bucket's own host."""
    host = request.headers.get("host", "").partition(":")[0]
    if host.endswith(_HOST_SUFFIX):
        bucket, name = host.removesuffix(_HOST_SUFFIX), path[1:]
    else:
        bucket, _, name = path[1:].partition("/")
    if not bucket or not name:
        raise InvalidArgument("The XML API is emulated for single objects only.")
    return decode(bucket), decode(name)
