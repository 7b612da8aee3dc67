"""The HTTP application of Cloud Storage: routes, callers, and errors in the shape of each API.

Two APIs share the hosts. Paths below the prefixes of `JSON_PATHS` belong to the JSON API and are
matched with a table of methods; everything else is the XML API, whose path, or host, names bucket
and object. Paths are matched as they were sent, since names may contain `%2F`. A request is made by
the account that signed its URL, else by that of its token, else by nobody. Resources that Google
has and the emulator has not are refused by name, so that their 404 is not taken for a missing
bucket.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.caller import ApiCaller, Authenticator, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import CloudError, NotFound, refuse_on_full_disk
from devenv.gcp.journal import note_caller, trace_of
from devenv.gcp.rpc.rest import gunzipped
from devenv.gcp.storage.access import Access, StorageTarget
from devenv.gcp.storage.acl import AccessLists
from devenv.gcp.storage.acl_api import AclMethods
from devenv.gcp.storage.batch_calls import BatchCalls
from devenv.gcp.storage.bulk_restore import BulkRestores
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.cross_origin import allow_any_origin, cross_origin_headers, preflight
from devenv.gcp.storage.errors import MethodNotAllowed, NotEmulated, as_json, as_xml
from devenv.gcp.storage.exchange import JSON_TYPE, Exchange, decode, headers_of, pairs_of, raw_path
from devenv.gcp.storage.hmac_keys import HmacKeys
from devenv.gcp.storage.json_api import JsonApi
from devenv.gcp.storage.media import Media
from devenv.gcp.storage.multipart import answer_batch
from devenv.gcp.storage.parameters import check_supported, select
from devenv.gcp.storage.resources import Shapes
from devenv.gcp.storage.signed import Signatures, SignedRequest, is_signature, is_signed
from devenv.gcp.storage.xml_api import XmlApi

Handler: TypeAlias = Callable[..., Awaitable[Response]]
Methods: TypeAlias = Mapping[str, Handler]
Route: TypeAlias = tuple[re.Pattern[str], Methods]

_UPLOADS = ("/upload/storage/v1/", "/resumable/upload/storage/v1/")
JSON_PATHS = ("/storage/v1/", *_UPLOADS, "/download/storage/v1/", "/batch/storage/v1")
_HOST_SUFFIX = ".storage.googleapis.com"
_NOT_EMULATED = re.compile(
    r"/storage/v1/(?:"
    r"b/[^/]+/(?:anywhereCaches|folders|managedFolders|relocate|restore)(?:/.*)?"
    r"|b/[^/]+/o/(?:watch|[^/]+/iam(?:/.*)?)"
    r"|channels/stop)"
)


@dataclass(frozen=True, slots=True)
class Trust:
    """The parts of the cloud that know callers and their rights."""

    authenticator: Authenticator
    signatures: Signatures
    guard: Guard
    clock: Clock
    lists: AccessLists


class StorageApp:
    """The ASGI application."""

    def __init__(  # noqa: PLR0913 - the parts of the service, by name
        self,
        config: CloudConfig,
        *,
        trust: Trust,
        catalogue: Catalogue,
        json_api: JsonApi,
        acl_methods: Mapping[str, AclMethods],
        restores: BulkRestores,
        hmac_keys: HmacKeys,
        xml_api: XmlApi,
        media: Media,
        batch_calls: BatchCalls,
    ) -> None:
        self._batch_calls = batch_calls
        self._config = config
        self._trust = trust
        self._catalogue = catalogue
        self._xml_api = xml_api
        self._media = media
        self._json_api = json_api
        self._acl_methods = acl_methods
        self._restores = restores
        self._hmac_keys = hmac_keys
        self._routes = self._table()
        self._shapes = lru_cache(maxsize=64)(self._shapes_at)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        """Answer one request; errors have the shape of the API that it belongs to."""
        as_response = as_json
        try:
            path, headers = raw_path(request), headers_of(request)
            if path.startswith(JSON_PATHS):
                return await self._json(request, path, headers)
            if headers.get("host", "").startswith("www."):
                raise NotFound("Not Found")  # Google's shared host has no XML API
            as_response = as_xml
            return await self._xml(request, path, headers)
        except CloudError as error:
            return as_response(error)
        except ClientDisconnect:
            return Response(status_code=499)

    async def _json(self, request: Request, path: str, headers: Mapping[str, str]) -> Response:
        try:
            if request.method == "OPTIONS":
                response = Response()
            else:
                handler, names = self._find(request.method, path)
                exchange = self._exchange(request, path, headers, is_json=True)
                with refuse_on_full_disk(f"storage {request.method}"):
                    response = _partial(exchange, await handler(exchange, *names))
        except CloudError as error:
            response = as_json(error)
        if "origin" in headers:
            response.headers.update(allow_any_origin(headers))
        return response

    async def _xml(self, request: Request, path: str, headers: Mapping[str, str]) -> Response:
        bucket, name = _plain_names(headers, path)
        if request.method == "OPTIONS":
            return preflight(self._catalogue.bucket(bucket), headers)
        try:
            exchange = self._exchange(request, path, headers, is_json=False)
            with refuse_on_full_disk(f"storage {request.method}"):
                response = await self._xml_api.handle(exchange, bucket, name)
        except CloudError as error:
            response = as_xml(error)
        if "origin" in headers:
            found = self._catalogue.bucket(bucket)
            response.headers.update(cross_origin_headers(found, request.method, headers))
        return response

    def _find(self, method: str, path: str) -> tuple[Handler, Sequence[str]]:
        found = False
        for pattern, handlers in self._routes:
            if match := pattern.fullmatch(path):
                if handler := handlers.get(method):
                    return handler, [decode(name) for name in match.groups()]
                found = True
        if _NOT_EMULATED.fullmatch(path):
            raise NotEmulated(f"The resource {path[:200]}")
        if found:
            raise MethodNotAllowed("The method is not allowed for this resource.")
        raise NotFound("Not Found")

    def _exchange(
        self, request: Request, path: str, headers: Mapping[str, str], *, is_json: bool
    ) -> Exchange:
        pairs = pairs_of(request)
        query = dict(pairs)
        check_supported(query, headers)
        signed = None
        if is_signed(query) or (not is_json and is_signature(headers.get("authorization", ""))):
            signed = SignedRequest(request.method, path, pairs, headers, _bucket_of_host(headers))
        caller = self._caller(signed, headers)
        if signed:
            headers = signed.plain_headers()
            request = Request(request.scope, signed.checked(request.receive))
        if is_json and "content-encoding" in headers and "contentEncoding" not in query:
            request = Request(request.scope, gunzipped(request.scope, request.receive))
        base = f"{request.scope.get('scheme', 'http')}://{headers.get('host', '')}"
        return Exchange(
            request=request,
            path=path,
            pairs=pairs,
            query=query,
            headers=headers,
            access=Access(
                self._trust.guard, caller, self._config.project, self._is_private, self._is_listed
            ),
            shapes=self._shapes(base, query.get("projection") == "full"),
        )

    def _shapes_at(self, base: str, is_full: bool) -> Shapes:
        """Return the builder of resources for one scheme and host, with access lists if `is_full`."""
        return Shapes(
            base,
            self._config.number,
            self._config.region,
            self._catalogue.bucket,
            self._trust.lists if is_full else None,
        )

    def _caller(self, signed: SignedRequest | None, headers: Mapping[str, str]) -> ApiCaller:
        if signed:
            caller = ApiCaller(signed.signer(self._trust.signatures, self._trust.clock))
            note_caller(caller.email)
            return caller
        if "authorization" in headers:
            return self._trust.authenticator.caller(headers)
        return ApiCaller()

    def _is_private(self, name: str) -> bool:
        bucket = self._catalogue.bucket(name) if self._config.iam != "off" else None
        return bucket is not None and bucket.private

    def _is_listed(self, caller: ApiCaller, permission: str, target: StorageTarget) -> bool:
        if not self._catalogue.may_have_lists(target.bucket):
            return False
        bucket = self._catalogue.bucket(target.bucket)
        item = self._catalogue.item(target.bucket, target.name, target.generation)
        return bucket is not None and self._trust.lists.allow(caller, permission, bucket, item)

    async def _object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        if exchange.query.get("alt") == "media":
            return await self._media.download(exchange, bucket, name)
        return await self._json_api.get_object(exchange, bucket, name)

    async def _batch(self, exchange: Exchange) -> Response:
        trace = trace_of(exchange.headers)

        async def answer(request: Request) -> Response:
            return await self._batch_calls.answer(request, self.respond, trace)

        return await answer_batch(exchange, answer)

    def _table(self) -> list[Route]:
        """Return the JSON API's paths, the most used first; `*` stands for one name."""
        api, media, keys = self._json_api, self._media, self._hmac_keys
        upload: Methods = {"POST": media.upload, "PUT": media.upload, "DELETE": media.cancel}
        item = _resource(self._object, api.update_object, api.delete_object)
        bucket = _resource(api.get_bucket, api.update_bucket, api.delete_bucket)
        table: dict[str, Methods] = {
            "/download/storage/v1/b/*/o/*": {"GET": media.download},
            **{f"{prefix}b/*/o": upload for prefix in _UPLOADS},
            "/storage/v1/b/*/o/*": item,
            "/storage/v1/b/*/o": {"GET": api.list_objects},
            "/storage/v1/b/*/o/bulkRestore": {"POST": self._restores.begin},
            "/storage/v1/b/*/operations": {"GET": self._restores.listing},
            "/storage/v1/b/*/operations/*": {"GET": self._restores.get},
            "/storage/v1/b/*/operations/*/cancel": {"POST": self._restores.cancel},
            "/storage/v1/b/*": bucket,
            "/storage/v1/b": {"GET": api.list_buckets, "POST": api.insert_bucket},
            "/storage/v1/b/*/o/*/compose": {"POST": api.compose},
            "/storage/v1/b/*/o/*/restore": {"POST": api.restore_object},
            "/storage/v1/b/*/o/*/copyTo/b/*/o/*": {"POST": api.copy},
            "/storage/v1/b/*/o/*/rewriteTo/b/*/o/*": {"POST": api.rewrite},
            "/storage/v1/b/*/o/*/moveTo/o/*": {"POST": api.move},
            "/storage/v1/b/*/iam": {"GET": api.get_policy, "PUT": api.set_policy},
            "/storage/v1/b/*/iam/testPermissions": {"GET": api.test_permissions},
            "/storage/v1/b/*/storageLayout": {"GET": api.get_layout},
            "/storage/v1/b/*/managedFolders": {"GET": api.list_managed_folders},
            "/storage/v1/b/*/notificationConfigs": {
                "GET": api.list_notifications,
                "POST": api.insert_notification,
            },
            "/storage/v1/b/*/notificationConfigs/*": {
                "GET": api.get_notification,
                "DELETE": api.delete_notification,
            },
            "/storage/v1/b/*/lockRetentionPolicy": {"POST": api.lock_bucket},
            "/storage/v1/projects/*/serviceAccount": {"GET": api.get_service_account},
            "/storage/v1/projects/*/hmacKeys": {"GET": keys.listing, "POST": keys.create},
            "/storage/v1/projects/*/hmacKeys/*": {
                "GET": keys.get,
                "PUT": keys.update,
                "DELETE": keys.delete,
            },
            "/batch/storage/v1": {"POST": self._batch},
        }
        for place, methods in self._acl_methods.items():
            table[f"/storage/v1/b/{place}"] = {"GET": methods.listing, "POST": methods.insert}
            table[f"/storage/v1/b/{place}/*"] = _resource(
                methods.get, methods.change, methods.delete
            )
        return [(re.compile(path.replace("*", "([^/]+)")), table[path]) for path in table]


def _resource(get: Handler, update: Handler, delete: Handler) -> Methods:
    return {"GET": get, "PATCH": update, "PUT": update, "DELETE": delete}


def _partial(exchange: Exchange, response: Response) -> Response:
    """Return the parts of a JSON answer that the parameter `fields` selects."""
    fields = exchange.query.get("fields", "")
    if not fields or not response.headers.get("content-type", "").startswith("application/json"):
        return response
    if exchange.query.get("alt") == "media" or not response.body:
        return response
    headers = {"etag": response.headers["etag"]} if "etag" in response.headers else None
    body = json.dumps(select(json.loads(bytes(response.body)), fields))
    return Response(body, response.status_code, headers, media_type=JSON_TYPE)


def _bucket_of_host(headers: Mapping[str, str]) -> str:
    """Return the bucket that the host names, as in `BUCKET.storage.googleapis.com`."""
    host = headers.get("host", "").partition(":")[0]
    return host.removesuffix(_HOST_SUFFIX) if host.endswith(_HOST_SUFFIX) else ""


def _plain_names(headers: Mapping[str, str], path: str) -> tuple[str, str]:
    """Return bucket and object of `/bucket/object`, or of `/object` on the bucket's own host.

    The object is empty in a path that names the bucket alone, and the bucket too in `/`.
    """
    bucket, name = _bucket_of_host(headers), path[1:]
    if not bucket:
        bucket, _, name = name.partition("/")
    return decode(bucket), decode(name)
