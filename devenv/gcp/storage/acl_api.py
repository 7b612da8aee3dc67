"""The JSON API's methods on access control lists: of buckets, of objects, and default ones of buckets.

See https://cloud.google.com/storage/docs/json_api/v1/bucketAccessControls,
https://cloud.google.com/storage/docs/json_api/v1/defaultObjectAccessControls and
https://cloud.google.com/storage/docs/json_api/v1/objectAccessControls.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from starlette.responses import Response

from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.storage.acl import (
    BUCKET_ROLES,
    OBJECT_ROLES,
    OWNER,
    AccessLists,
    Acl,
    as_entries,
    bucket_entry,
    default_entry,
    object_entry,
)
from devenv.gcp.storage.buckets import Buckets, WantedLists
from devenv.gcp.storage.errors import NotEmulated, UniformAccess
from devenv.gcp.storage.exchange import Exchange, answer
from devenv.gcp.storage.json_api import ref_of
from devenv.gcp.storage.model import BucketRecord
from devenv.gcp.storage.objects import Objects

_MEMBERS = frozenset(
    {
        *("bucket", "domain", "email", "entity", "entityId", "etag", "generation", "id", "kind"),
        *("object", "projectTeam", "role", "selfLink"),
    }
)


class AclMethods(ABC):
    """The methods on the lists of one kind; names are those of the path, without the entity."""

    roles: ClassVar[Mapping[str, str]]
    kind: ClassVar[str]

    def __init__(self, lists: AccessLists) -> None:
        self._lists = lists

    @abstractmethod
    def read(self, exchange: Exchange, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the resources of the entries."""

    @abstractmethod
    def write(
        self, exchange: Exchange, names: Sequence[str], change: Callable[[dict[str, str]], object]
    ) -> list[dict[str, Any]]:
        """Let `change` change the list, and return the resources of the entries."""

    async def listing(self, exchange: Exchange, *names: str) -> Response:
        return answer({"kind": f"{self.kind}s", "items": self.read(exchange, names)})

    async def get(self, exchange: Exchange, *names: str) -> Response:
        return answer(self._one(self.read(exchange, names[:-1]), names[-1]))

    async def insert(self, exchange: Exchange, *names: str) -> Response:
        entity, role = self._lists.entry(await self._body(exchange), self.roles)
        entries = self.write(exchange, names, lambda acl: acl.update({entity: role}))
        return answer(self._one(entries, entity))

    async def change(self, exchange: Exchange, *names: str) -> Response:
        """Set the role of an entity, which gets an entry if it has none."""
        body = {**await self._body(exchange), "entity": names[-1]}
        entity, role = self._lists.entry(body, self.roles)
        entries = self.write(exchange, names[:-1], lambda acl: acl.update({entity: role}))
        return answer(self._one(entries, entity))

    async def delete(self, exchange: Exchange, *names: str) -> Response:
        entity = self._lists.entity(names[-1])

        def remove(acl: dict[str, str]) -> None:
            if acl.pop(entity, None) is None:
                raise _missing(entity)

        self.write(exchange, names[:-1], remove)
        return Response(status_code=204)

    def _one(self, entries: list[dict[str, Any]], entity: str) -> dict[str, Any]:
        wanted = self._lists.entity(entity)
        for entry in entries:
            if entry["entity"] == wanted:
                return entry
        raise _missing(wanted)

    async def _body(self, exchange: Exchange) -> dict[str, Any]:
        body = await exchange.json()
        for name in body:
            if name not in _MEMBERS:
                raise NotEmulated(f"The field '{name[:100]}'")
        return body


class BucketAcl(AclMethods):
    """The methods on the lists of buckets."""

    roles = BUCKET_ROLES
    kind = "storage#bucketAccessControl"

    def __init__(self, lists: AccessLists, buckets: Buckets) -> None:
        super().__init__(lists)
        self._buckets = buckets

    def read(self, exchange: Exchange, names: Sequence[str]) -> list[dict[str, Any]]:
        return self._entries(exchange, self._bucket(exchange, names[0], "get"))

    def write(
        self, exchange: Exchange, names: Sequence[str], change: Callable[[dict[str, str]], object]
    ) -> list[dict[str, Any]]:
        acl = dict(self._acl(self._bucket(exchange, names[0], "update")))
        change(acl)
        self._check(acl)
        wanted = self._wanted(as_entries(acl))
        return self._entries(exchange, self._buckets.set_lists(exchange.access, names[0], wanted))

    def _bucket(self, exchange: Exchange, name: str, action: str) -> BucketRecord:
        exchange.access.require("storage.buckets.getIamPolicy", name)
        bucket = self._buckets.find(name)
        if bucket.uniform:
            raise UniformAccess(action, "a bucket")
        return bucket

    def _acl(self, bucket: BucketRecord) -> Acl:
        return self._lists.of_bucket(bucket)

    def _check(self, acl: Acl) -> None:
        owner = self._lists.bucket_owner()
        if acl.get(owner) != OWNER:
            raise InvalidArgument(f"The owner of the bucket, {owner}, must keep the role OWNER.")

    def _wanted(self, entries: object) -> WantedLists:
        return WantedLists(entries=entries)

    def _entries(self, exchange: Exchange, bucket: BucketRecord) -> list[dict[str, Any]]:
        base = exchange.shapes.base
        return [bucket_entry(base, bucket, *entry) for entry in self._acl(bucket).items()]


class DefaultAcl(BucketAcl):
    """The methods on the lists that new objects of a bucket get."""

    roles = OBJECT_ROLES
    kind = "storage#objectAccessControl"

    def _acl(self, bucket: BucketRecord) -> Acl:
        return self._lists.default_of(bucket)

    def _check(self, acl: Acl) -> None:
        """Accept any list: an object made later gets its owner's entry by itself."""

    def _wanted(self, entries: object) -> WantedLists:
        return WantedLists(default_entries=entries)

    def _entries(self, exchange: Exchange, bucket: BucketRecord) -> list[dict[str, Any]]:
        return [default_entry(*entry) for entry in self._acl(bucket).items()]


class ObjectAcl(AclMethods):
    """The methods on the lists of objects."""

    roles = OBJECT_ROLES
    kind = "storage#objectAccessControl"

    def __init__(self, lists: AccessLists, objects: Objects) -> None:
        super().__init__(lists)
        self._objects = objects

    def read(self, exchange: Exchange, names: Sequence[str]) -> list[dict[str, Any]]:
        item, acl = self._objects.read_acl(exchange.access, ref_of(exchange, *names))
        return [object_entry(exchange.shapes.base, item, *entry) for entry in acl.items()]

    def write(
        self, exchange: Exchange, names: Sequence[str], change: Callable[[dict[str, str]], object]
    ) -> list[dict[str, Any]]:
        item = self._objects.set_acl(exchange.access, ref_of(exchange, *names), change)
        acl = item.acl or {}
        return [object_entry(exchange.shapes.base, item, *entry) for entry in acl.items()]


def acl_methods(lists: AccessLists, buckets: Buckets, objects: Objects) -> dict[str, AclMethods]:
    """Return the methods of each kind by the path of its list."""
    return {
        "*/acl": BucketAcl(lists, buckets),
        "*/defaultObjectAcl": DefaultAcl(lists, buckets),
        "*/o/*/acl": ObjectAcl(lists, objects),
    }


def _missing(entity: str) -> NotFound:
    return NotFound(f"The access control list has no entry for {entity}.")
