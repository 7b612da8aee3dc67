"""The JSON API's metadata methods: buckets, objects, lists, copies and compositions."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.buckets import Buckets
from devenv.gcp.storage.conditions import Preconditions, number, parse, parse_source
from devenv.gcp.storage.exchange import Exchange, answer
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.listing import page_size, parse as parse_listing, read_token
from devenv.gcp.storage.names import check_object_name
from devenv.gcp.storage.objects import Draft, Objects, Ref


class JsonApi:
    """One method for each of Google's; the names in a path come decoded."""

    def __init__(self, buckets: Buckets, objects: Objects) -> None:
        self._buckets = buckets
        self._objects = objects

    async def insert_bucket(self, exchange: Exchange) -> Response:
        bucket = self._buckets.create(exchange.access, await exchange.json())
        return answer(exchange.shapes.bucket(bucket))

    async def list_buckets(self, exchange: Exchange) -> Response:
        query = exchange.query
        found, token = self._buckets.listing(
            exchange.access,
            start=read_token(query.get("pageToken", ""))[0],
            prefix=query.get("prefix", ""),
            limit=page_size(query),
        )
        items = [exchange.shapes.bucket(bucket) for bucket in found]
        return answer(_page("storage#buckets", items=items, nextPageToken=token))

    async def get_bucket(self, exchange: Exchange, name: str) -> Response:
        bucket = self._buckets.get(exchange.access, name, _metageneration(exchange))
        return answer(exchange.shapes.bucket(bucket))

    async def patch_bucket(self, exchange: Exchange, name: str) -> Response:
        bucket = self._buckets.patch(
            exchange.access,
            name,
            await exchange.json(),
            metageneration=_metageneration(exchange),
        )
        return answer(exchange.shapes.bucket(bucket))

    async def delete_bucket(self, exchange: Exchange, name: str) -> Response:
        self._buckets.delete(exchange.access, name, _metageneration(exchange))
        return Response(status_code=204)

    async def test_permissions(self, exchange: Exchange, name: str) -> Response:
        wanted = [value for key, value in exchange.pairs if key == "permissions"]
        held = [permission for permission in wanted if exchange.access.allows(permission, name)]
        return answer(_page("storage#testIamPermissionsResponse", permissions=held))

    async def list_objects(self, exchange: Exchange, bucket: str) -> Response:
        page = self._objects.listing(exchange.access, bucket, parse_listing(exchange.query))
        items = [exchange.shapes.object(item) for item in page.items]
        return answer(
            _page("storage#objects", items=items, prefixes=page.prefixes, nextPageToken=page.token)
        )

    async def get_object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        item = self._objects.get(exchange.access, ref_of(exchange, bucket, name))
        return answer(exchange.shapes.object(item))

    async def patch_object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        item = self._objects.patch(
            exchange.access,
            ref_of(exchange, bucket, name),
            await exchange.json(),
            whole=exchange.request.method == "PUT",
        )
        return answer(exchange.shapes.object(item))

    async def delete_object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        self._objects.delete(exchange.access, ref_of(exchange, bucket, name))
        return Response(status_code=204)

    async def compose(self, exchange: Exchange, bucket: str, name: str) -> Response:
        body = await exchange.json()
        item = await self._objects.compose(
            exchange.access,
            _sources(bucket, body.get("sourceObjects")),
            _draft(exchange, bucket, name, _mapping(body.get("destination", {}))),
        )
        return answer(exchange.shapes.object(item))

    async def copy(self, exchange: Exchange, *names: str) -> Response:
        return answer(await self._copied(exchange, *names))

    async def rewrite(self, exchange: Exchange, *names: str) -> Response:
        resource = await self._copied(exchange, *names)
        size = resource["size"]
        return answer(
            {
                "kind": "storage#rewriteResponse",
                "totalBytesRewritten": size,
                "objectSize": size,
                "done": True,
                "resource": resource,
            }
        )

    async def move(self, exchange: Exchange, bucket: str, name: str, target: str) -> Response:
        draft = _draft(exchange, bucket, target, {})
        item = self._objects.copy(
            exchange.access, _source(exchange, bucket, name), draft, move=True
        )
        return answer(exchange.shapes.object(item))

    async def _copied(
        self, exchange: Exchange, bucket: str, name: str, to_bucket: str, to_name: str
    ) -> dict[str, Any]:
        draft = _draft(exchange, to_bucket, to_name, await exchange.json())
        item = self._objects.copy(exchange.access, _source(exchange, bucket, name), draft)
        return exchange.shapes.object(item)


def ref_of(exchange: Exchange, bucket: str, name: str) -> Ref:
    """Return the object that a request names, with its generation and preconditions."""
    return Ref(
        bucket,
        name,
        _optional(exchange.query.get("generation"), "generation"),
        parse(exchange.query, exchange.headers),
    )


def _source(exchange: Exchange, bucket: str, name: str) -> Ref:
    generation = _optional(exchange.query.get("sourceGeneration"), "sourceGeneration")
    return Ref(bucket, name, generation, parse_source(exchange.query))


def _sources(bucket: str, sources: object) -> Sequence[Ref]:
    if not isinstance(sources, list):
        raise InvalidArgument("Required: sourceObjects")
    return [_component(bucket, _mapping(source)) for source in sources[:33]]


def _component(bucket: str, source: Mapping[str, Any]) -> Ref:
    wanted = _mapping(source.get("objectPreconditions", {})).get("ifGenerationMatch")
    name = str(source.get("name", ""))
    check_object_name(name)
    return Ref(
        bucket,
        name,
        _optional(source.get("generation"), "generation"),
        Preconditions(generation=_optional(wanted, "ifGenerationMatch")),
    )


def _draft(exchange: Exchange, bucket: str, name: str, resource: Mapping[str, Any]) -> Draft:
    conditions = parse(exchange.query, exchange.headers)
    return Draft(bucket, name, object_fields(resource), conditions)


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise InvalidArgument("Invalid value in the request body.")


def _optional(value: object, name: str) -> int | None:
    return None if value is None else number(value, name)


def _metageneration(exchange: Exchange) -> int | None:
    value = exchange.query.get("ifMetagenerationMatch")
    return _optional(value, "ifMetagenerationMatch")


def _page(kind: str, **parts: Any) -> dict[str, Any]:
    """Google leaves out what is empty."""
    return {"kind": kind} | {key: value for key, value in parts.items() if value}
