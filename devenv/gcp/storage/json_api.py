"""The JSON API's methods on metadata: buckets, objects, lists, copies and compositions.

Each method reads its parameters and its body, calls `Buckets` or `Objects`, and answers with a
resource. Names in a path arrive decoded. A body is read strictly: members that have no effect here
are refused by name.

See https://cloud.google.com/storage/docs/json_api/v1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from starlette.responses import Response

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import Aborted, InvalidArgument, NotFound
from devenv.gcp.iam.policies import EVERY_ACCOUNT, EVERYBODY, Policies, Policy
from devenv.gcp.storage.access import StorageTarget
from devenv.gcp.storage.buckets import Buckets, WantedLists
from devenv.gcp.storage.drafts import ObjectDraft, ObjectRef
from devenv.gcp.storage.errors import NotEmulated, PreconditionFailed, PublicAccessPrevented
from devenv.gcp.storage.exchange import Exchange, answer, answer_page
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.listing import page_size, parse as parse_listing, read_token
from devenv.gcp.storage.model import BucketRecord, check_object_name
from devenv.gcp.storage.notifications import Notifications
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.parameters import Preconditions, flag, number, parse, parse_source


class JsonApi:
    """The handlers of the JSON API."""

    def __init__(
        self,
        buckets: Buckets,
        objects: Objects,
        *,
        notifications: Notifications,
        policies: Policies,
        config: CloudConfig,
    ) -> None:
        self._notifications = notifications
        self._policies = policies
        self._buckets = buckets
        self._objects = objects
        self._project = config.project
        self._number = config.number

    async def get_service_account(self, exchange: Exchange, project: str) -> Response:
        """Answer with the account by which Cloud Storage itself would act."""
        self._check_project(project)
        exchange.access.require("resourcemanager.projects.get")
        email = f"service-{self._number}@gs-project-accounts.iam.gserviceaccount.com"
        return answer({"kind": "storage#serviceAccount", "email_address": email})

    async def insert_bucket(self, exchange: Exchange) -> Response:
        self._check_project(exchange.query.get("project", ""))
        sent = await exchange.json()
        wanted = WantedLists.of(sent, exchange.query)
        bucket = self._buckets.create(exchange.access, sent, wanted)
        return answer(exchange.shapes.bucket(bucket))

    async def list_buckets(self, exchange: Exchange) -> Response:
        query = exchange.query
        self._check_project(query.get("project", ""))
        found, token = self._buckets.listing(
            exchange.access,
            start=read_token(query.get("pageToken", ""))[0],
            prefix=query.get("prefix", ""),
            limit=page_size(query),
        )
        for bucket in found:
            self._check_projection(exchange, bucket)
        items = [exchange.shapes.bucket(bucket) for bucket in found]
        return answer(_page("storage#buckets", items=items, nextPageToken=token))

    async def get_bucket(self, exchange: Exchange, name: str) -> Response:
        bucket = self._buckets.get(exchange.access, name, _metageneration(exchange))
        self._check_projection(exchange, bucket)
        return answer(exchange.shapes.bucket(bucket))

    async def get_layout(self, exchange: Exchange, name: str) -> Response:
        prefix = exchange.query.get("prefix", "")
        return answer(exchange.shapes.layout(self._buckets.layout(exchange.access, name, prefix)))

    async def list_managed_folders(self, exchange: Exchange, name: str) -> Response:
        """Answer with an empty list: none can be created, and gcloud asks before it deletes."""
        exchange.access.require("storage.managedFolders.list", name)
        self._buckets.find(name)
        return answer({"kind": "storage#managedFolders"})

    async def update_bucket(self, exchange: Exchange, name: str) -> Response:
        sent = await exchange.json()
        if exchange.shapes.lists:
            exchange.access.require("storage.buckets.update", name)
            self._check_projection(exchange, self._buckets.find(name))
        bucket = self._buckets.update(
            exchange.access,
            name,
            sent,
            whole=exchange.request.method == "PUT",
            metageneration=_metageneration(exchange),
            wanted=WantedLists.of(sent, exchange.query),
        )
        return answer(exchange.shapes.bucket(bucket))

    async def lock_bucket(self, exchange: Exchange, name: str) -> Response:
        wanted = exchange.query.get("ifMetagenerationMatch")
        if wanted is None:
            raise InvalidArgument("Required parameter: ifMetagenerationMatch")
        metageneration = number(wanted, "ifMetagenerationMatch")
        bucket = self._buckets.lock(exchange.access, name, metageneration)
        return answer(exchange.shapes.bucket(bucket))

    async def delete_bucket(self, exchange: Exchange, name: str) -> Response:
        self._buckets.delete(exchange.access, name, _metageneration(exchange))
        return Response(status_code=204)

    async def test_permissions(self, exchange: Exchange, name: str) -> Response:
        wanted = [value for key, value in exchange.pairs if key == "permissions"]
        held = [permission for permission in wanted if exchange.access.allows(permission, name)]
        return answer(_page("storage#testIamPermissionsResponse", permissions=held))

    async def get_policy(self, exchange: Exchange, name: str) -> Response:
        exchange.access.require("storage.buckets.getIamPolicy", name)
        self._buckets.find(name)
        asked = exchange.query.get("optionsRequestedPolicyVersion", "1")
        version = number(asked, "optionsRequestedPolicyVersion")
        resource = StorageTarget(name).full_name
        return answer(_policy_resource(resource, self._policies.read(resource, version=version)))

    async def set_policy(self, exchange: Exchange, name: str) -> Response:
        exchange.access.require("storage.buckets.setIamPolicy", name)
        bucket = self._buckets.find(name)
        body = await exchange.json()
        resource = StorageTarget(name).full_name
        wanted = {key: value for key, value in body.items() if key not in ("kind", "resourceId")}
        try:
            policy = json_format.ParseDict(wanted, Policy())
        except json_format.ParseError as error:
            raise InvalidArgument(f"Invalid policy: {error}") from error
        members = {member for binding in policy.bindings for member in binding.members}
        if bucket.private and members & {EVERYBODY, EVERY_ACCOUNT}:
            raise PublicAccessPrevented
        try:
            written = self._policies.write(resource, policy)
        except Aborted as error:  # of which Cloud Storage makes a precondition
            raise PreconditionFailed from error
        return answer(_policy_resource(resource, written))

    async def insert_notification(self, exchange: Exchange, bucket: str) -> Response:
        sent = await exchange.json()
        return answer(self._notifications.insert(exchange.access, bucket, sent))

    async def list_notifications(self, exchange: Exchange, bucket: str) -> Response:
        items = self._notifications.listing(exchange.access, bucket)
        return answer(_page("storage#notifications", items=items))

    async def get_notification(self, exchange: Exchange, bucket: str, number: str) -> Response:
        return answer(self._notifications.get(exchange.access, bucket, number))

    async def delete_notification(self, exchange: Exchange, bucket: str, number: str) -> Response:
        self._notifications.delete(exchange.access, bucket, number)
        return Response(status_code=204)

    async def list_objects(self, exchange: Exchange, bucket: str) -> Response:
        page = self._objects.listing(exchange.access, bucket, parse_listing(exchange.query))
        if exchange.shapes.lists:
            found = self._buckets.find(bucket)
            for item in page.items:
                self._check_projection(exchange, found, item.name, item.generation)
        items = [exchange.shapes.object_text(item) for item in page.items]
        return answer_page(
            _page("storage#objects", prefixes=page.prefixes, nextPageToken=page.token), items
        )

    async def get_object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        is_deleted = flag(exchange.query, "softDeleted")
        get = self._objects.get_soft_deleted if is_deleted else self._objects.get
        item = get(exchange.access, ref_of(exchange, bucket, name))
        if exchange.shapes.lists:
            self._check_projection(exchange, self._buckets.find(bucket), name, item.generation)
        return answer(exchange.shapes.object(item))

    async def restore_object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        item = self._objects.restore(
            exchange.access,
            ref_of(exchange, bucket, name),
            copy_acl=flag(exchange.query, "copySourceAcl"),
        )
        return answer(exchange.shapes.object(item))

    async def update_object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        sent, ref = await exchange.json(), ref_of(exchange, bucket, name)
        if exchange.shapes.lists:
            ref.require(exchange.access, "storage.objects.update")
            self._check_projection(exchange, self._buckets.find(bucket), name, ref.generation)
        item = self._objects.patch(
            exchange.access,
            ref,
            sent,
            whole=exchange.request.method == "PUT",
            wanted=(sent.get("acl"), exchange.query.get("predefinedAcl", "")),
        )
        return answer(exchange.shapes.object(item))

    async def delete_object(self, exchange: Exchange, bucket: str, name: str) -> Response:
        self._objects.delete(exchange.access, ref_of(exchange, bucket, name))
        return Response(status_code=204)

    async def compose(self, exchange: Exchange, bucket: str, name: str) -> Response:
        body = _members(await exchange.json(), "kind", "sourceObjects", "destination")
        destination = _members(body.get("destination") or {})
        item = await self._objects.compose(
            exchange.access,
            _sources(bucket, body.get("sourceObjects")),
            _draft(exchange, bucket, name, destination),
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

    def _check_projection(
        self,
        exchange: Exchange,
        bucket: BucketRecord,
        name: str = "",
        generation: int | None = None,
    ) -> None:
        """Refuse `projection=full` to callers who may not see access control lists."""
        if exchange.shapes.lists and not bucket.uniform:
            kind = "objects" if name else "buckets"
            permission = f"storage.{kind}.getIamPolicy"
            exchange.access.require(permission, bucket.name, name, generation=generation)

    def _check_project(self, project: str) -> None:
        if not project:
            raise InvalidArgument("Required parameter: project")
        if project not in (self._project, self._number):
            raise NotFound(f"The project '{project[:100]}' does not exist.")

    async def _copied(
        self, exchange: Exchange, bucket: str, name: str, to_bucket: str, to_name: str
    ) -> dict[str, Any]:
        draft = _draft(exchange, to_bucket, to_name, await exchange.json())
        item = self._objects.copy(exchange.access, _source(exchange, bucket, name), draft)
        return exchange.shapes.object(item)


def ref_of(exchange: Exchange, bucket: str, name: str) -> ObjectRef:
    """Return the object that a request names, with generation and preconditions."""
    return ObjectRef(
        bucket,
        name,
        _optional(exchange.query.get("generation"), "generation"),
        parse(exchange.query, exchange.headers),
    )


def _source(exchange: Exchange, bucket: str, name: str) -> ObjectRef:
    generation = _optional(exchange.query.get("sourceGeneration"), "sourceGeneration")
    return ObjectRef(bucket, name, generation, parse_source(exchange.query))


def _sources(bucket: str, sources: object) -> Sequence[ObjectRef]:
    if not isinstance(sources, list):
        raise InvalidArgument("Required: sourceObjects")
    return [
        _component(bucket, _members(source, "name", "generation", "objectPreconditions"))
        for source in sources[:33]
    ]


def _component(bucket: str, source: Mapping[str, Any]) -> ObjectRef:
    conditions = _members(source.get("objectPreconditions") or {}, "ifGenerationMatch")
    wanted = conditions.get("ifGenerationMatch")
    name = str(source.get("name", ""))
    check_object_name(name)
    return ObjectRef(
        bucket,
        name,
        _optional(source.get("generation"), "generation"),
        Preconditions(generation=_optional(wanted, "ifGenerationMatch")),
    )


def _draft(exchange: Exchange, bucket: str, name: str, resource: Mapping[str, Any]) -> ObjectDraft:
    query = exchange.query
    return ObjectDraft(
        bucket,
        name,
        object_fields(resource),
        parse(query, exchange.headers),
        entries=resource.get("acl"),
        predefined=query.get("destinationPredefinedAcl", ""),
    )


def _members(value: object, *names: str) -> Mapping[str, Any]:
    """Return a JSON object, which has no other members than `names` if any are given."""
    if not isinstance(value, Mapping):
        raise InvalidArgument("Invalid value in the request body.")
    for name in value:
        if names and name not in names:
            raise NotEmulated(f"The field '{str(name)[:100]}'")
    return value


def _optional(value: object, name: str) -> int | None:
    return None if value is None else number(value, name)


def _metageneration(exchange: Exchange) -> tuple[int | None, int | None]:
    """Return the metagenerations that a bucket must and must not have."""
    names = ("ifMetagenerationMatch", "ifMetagenerationNotMatch")
    wanted, unwanted = (_optional(exchange.query.get(name), name) for name in names)
    return wanted, unwanted


def _policy_resource(resource: str, policy: Any) -> dict[str, Any]:
    return {
        "kind": "storage#policy",
        "resourceId": resource,
        "bindings": [],
        **json_format.MessageToDict(policy),
    }


def _page(kind: str, **parts: Any) -> dict[str, Any]:
    """Return a list resource without its empty parts, as Google does."""
    return {"kind": kind} | {key: value for key, value in parts.items() if value}
