"""Access control lists of buckets and objects, which take effect where uniform access is off.

A list maps entities to roles, and its roles stand for IAM roles: those of a bucket for
`roles/storage.legacyBucket…`, those of an object for `roles/storage.legacyObject…`. They allow what
they name in addition to IAM. A bucket without a list of its own has the predefined one
`projectPrivate`, and so has its default list, which new objects get beside their owner, the account
that made them. The owner's entry cannot be removed. Groups have no members here.

See https://cloud.google.com/storage/docs/access-control/lists.
"""

import base64
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from devenv.gcp.caller import ApiCaller
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.iam.guard import is_in_scope, members_of
from devenv.gcp.iam.policies import EVERY_ACCOUNT, EVERYBODY, Policies
from devenv.gcp.storage.errors import PublicAccessPrevented, UniformAccess
from devenv.gcp.storage.model import BucketRecord, ObjectRecord

Acl: TypeAlias = Mapping[str, str]

OWNER, WRITER, READER = "OWNER", "WRITER", "READER"
BUCKET_ROLES = {
    OWNER: "roles/storage.legacyBucketOwner",
    WRITER: "roles/storage.legacyBucketWriter",
    READER: "roles/storage.legacyBucketReader",
}
OBJECT_ROLES = {
    OWNER: "roles/storage.legacyObjectOwner",
    READER: "roles/storage.legacyObjectReader",
}
_PUBLIC = (EVERYBODY, EVERY_ACCOUNT)
_TEAMS = {"owners": "roles/owner", "editors": "roles/editor", "viewers": "roles/viewer"}
_MOST_ENTRIES = 100  # https://cloud.google.com/storage/quotas#buckets
_ENTITY = re.compile(
    r"allUsers|allAuthenticatedUsers|(?:user|group)-[^@\s]{1,200}@[^@\s]{1,200}"
    r"|domain-[^@\s]{1,200}|project-(?:owners|editors|viewers)-[a-z0-9-]{1,64}"
)
# Names of predefined lists in the XML API.
_XML_PREDEFINED = {
    "private": "private",
    "project-private": "projectPrivate",
    "public-read": "publicRead",
    "public-read-write": "publicReadWrite",
    "authenticated-read": "authenticatedRead",
    "bucket-owner-read": "bucketOwnerRead",
    "bucket-owner-full-control": "bucketOwnerFullControl",
}
_PREDEFINED_BUCKET: Mapping[str, Mapping[str, str]] = {
    "private": {},
    "authenticatedRead": {EVERY_ACCOUNT: READER},
    "publicRead": {EVERYBODY: READER},
    "publicReadWrite": {EVERYBODY: WRITER},
}
_PREDEFINED_OBJECT: Mapping[str, Mapping[str, str]] = {
    "private": {},
    "authenticatedRead": {EVERY_ACCOUNT: READER},
    "publicRead": {EVERYBODY: READER},
    "bucketOwnerRead": {"project-owners": READER},
    "bucketOwnerFullControl": {"project-owners": OWNER},
}


class AccessLists:
    """The lists of the buckets of one project, and what they allow."""

    def __init__(self, config: CloudConfig, policies: Policies) -> None:
        self._project = f"projects/{config.project}"
        self._aliases = {config.project: config.number}
        self._number = config.number
        self._policies = policies

    def allow(
        self,
        caller: ApiCaller,
        permission: str,
        bucket: BucketRecord,
        item: ObjectRecord | None,
    ) -> bool:
        """Return whether the list of a bucket, or that of one of its objects, allows a caller."""
        if bucket.uniform or not is_in_scope(caller, permission):
            return False
        entities = self._entities_of(caller, public=not bucket.private)
        lists: list[tuple[Acl, Mapping[str, str]]] = [(self.of_bucket(bucket), BUCKET_ROLES)]
        if item:
            lists.append((self.of_object(bucket, item), OBJECT_ROLES))
        permissions = self._policies.roles.permissions
        return any(
            permission in permissions(roles[role])
            for acl, roles in lists
            for entity, role in acl.items()
            if entity in entities
        )

    def of_bucket(self, bucket: BucketRecord) -> Acl:
        return self._project_private() if bucket.acl is None else bucket.acl

    def default_of(self, bucket: BucketRecord) -> Acl:
        """Return the list that new objects of a bucket get beside their owner."""
        return self._project_private() if bucket.default_acl is None else bucket.default_acl

    def of_object(self, bucket: BucketRecord, item: ObjectRecord) -> Acl:
        """Return an object's list; one that was made under uniform access has the default list."""
        acl = self.default_of(bucket) if item.acl is None else item.acl
        return {**acl, self.owner_of(item): OWNER}

    def bucket_owner(self) -> str:
        return f"project-owners-{self._number}"

    def owner_of(self, item: ObjectRecord) -> str:
        """Return the entity that owns an object: its maker, else the owners of the project."""
        return f"user-{item.owner}" if item.owner else self.bucket_owner()

    def for_bucket(self, bucket: BucketRecord, entries: object, predefined: str) -> Acl:
        """Return the list that a request sets for a bucket. Raises InvalidArgument."""
        acl = self._wanted(entries, predefined, BUCKET_ROLES, _PREDEFINED_BUCKET)
        return self.checked(bucket, {**acl, self.bucket_owner(): OWNER})

    def for_objects(self, bucket: BucketRecord, entries: object, predefined: str) -> Acl:
        """Return the list that a request sets for an object, or as the default of a bucket."""
        acl = self._wanted(entries, predefined, OBJECT_ROLES, _PREDEFINED_OBJECT)
        return self.checked(bucket, acl)

    def is_wanted(self, bucket: BucketRecord, entries: object, predefined: str) -> bool:
        """Return whether a request sets a list; an empty one under uniform access says it has none."""
        return bool(predefined) or (entries is not None and not (bucket.uniform and entries == []))

    def entry(self, value: object, roles: Collection[str]) -> tuple[str, str]:
        """Return entity and role of an entry. Raises InvalidArgument."""
        if not isinstance(value, Mapping):
            raise InvalidArgument("An entry of an access control list must be an object.")
        role = str(value.get("role"))
        if role not in roles:
            raise InvalidArgument(
                f"Invalid role '{role[:40]}' in an access control list; "
                f"it must be one of {', '.join(roles)}."
            )
        return self.entity(value.get("entity")), role

    def entity(self, value: object) -> str:
        """Return an entity with the project's number and an address in lower case."""
        text = value if isinstance(value, str) else ""
        if not _ENTITY.fullmatch(text):
            raise InvalidArgument(
                f"Invalid entity '{str(value)[:100]}' in an access control list; it must be "
                "user-EMAIL, group-EMAIL, domain-DOMAIN, project-owners-NUMBER, "
                "project-editors-NUMBER, project-viewers-NUMBER, allUsers or allAuthenticatedUsers."
            )
        if text in _PUBLIC:
            return text
        if not text.startswith("project-"):
            return text.lower()
        _, team, project = text.split("-", 2)
        return f"project-{team}-{self._aliases.get(project, project)}"

    def checked(self, bucket: BucketRecord, acl: Acl) -> Acl:
        """Return a list that the bucket can have. Raises UniformAccess or PublicAccessPrevented."""
        if bucket.uniform:
            raise UniformAccess
        if bucket.private and any(entity in acl for entity in _PUBLIC):
            raise PublicAccessPrevented
        if len(acl) > _MOST_ENTRIES:
            raise InvalidArgument(
                f"The access control list has {len(acl)} entries; the maximum is {_MOST_ENTRIES}."
            )
        return acl

    def _wanted(
        self,
        entries: object,
        predefined: str,
        roles: Collection[str],
        known: Mapping[str, Mapping[str, str]],
    ) -> dict[str, str]:
        if predefined == "projectPrivate":
            return self._project_private()
        if predefined:
            if predefined not in known:
                raise InvalidArgument(
                    f"Invalid predefined access control list '{predefined[:40]}'; "
                    f"it must be one of projectPrivate, {', '.join(known)}."
                )
            owners = self.bucket_owner()
            return {
                owners if entity == "project-owners" else entity: role
                for entity, role in known[predefined].items()
            }
        if not isinstance(entries, list):
            raise InvalidArgument("An access control list must be a list of entries.")
        return dict(self.entry(value, roles) for value in entries)

    def _project_private(self) -> dict[str, str]:
        roles = {"owners": OWNER, "editors": OWNER, "viewers": READER}
        return {f"project-{team}-{self._number}": role for team, role in roles.items()}

    def _entities_of(self, caller: ApiCaller, *, public: bool) -> set[str]:
        """Return the entities that a caller is."""
        entities = {EVERYBODY} if public else set()
        if caller.anonymous:
            return entities
        email = caller.email.lower()
        entities |= {f"user-{email}", f"domain-{email.rpartition('@')[2]}"}
        if public:
            entities.add(EVERY_ACCOUNT)
        members = members_of(caller)
        held = {
            granted.role
            for granted in self._policies.granted(self._project)
            if not granted.condition and not members.isdisjoint(granted.members)
        }
        teams = (team for team, role in _TEAMS.items() if role in held)
        return entities | {f"project-{team}-{self._number}" for team in teams}


def as_entries(acl: Acl) -> list[dict[str, str]]:
    """Return a list as requests have it."""
    return [{"entity": entity, "role": role} for entity, role in acl.items()]


def predefined_name(text: str) -> str:
    """Return the JSON API's name of a predefined list of the XML API. Raises InvalidArgument."""
    if text and text not in _XML_PREDEFINED:
        raise InvalidArgument(
            f"Invalid predefined access control list '{text[:40]}'; "
            f"it must be one of {', '.join(_XML_PREDEFINED)}."
        )
    return _XML_PREDEFINED.get(text, "")


def bucket_entry(base: str, bucket: BucketRecord, entity: str, role: str) -> dict[str, Any]:
    """Return the resource of an entry of a bucket's list."""
    return {
        "kind": "storage#bucketAccessControl",
        "id": f"{bucket.name}/{entity}",
        "selfLink": f"{base}/storage/v1/b/{bucket.name}/acl/{quote(entity, safe='')}",
        "bucket": bucket.name,
        "etag": _etag(bucket.metageneration),
        **_entry(entity, role),
    }


def object_entry(base: str, item: ObjectRecord, entity: str, role: str) -> dict[str, Any]:
    """Return the resource of an entry of an object's list."""
    place = f"b/{item.bucket}/o/{quote(item.name, safe='')}/acl/{quote(entity, safe='')}"
    return {
        "kind": "storage#objectAccessControl",
        "id": f"{item.bucket}/{item.name}/{item.generation}/{entity}",
        "selfLink": f"{base}/storage/v1/{place}",
        "bucket": item.bucket,
        "object": item.name,
        "generation": str(item.generation),
        "etag": _etag(item.metageneration),
        **_entry(entity, role),
    }


def default_entry(entity: str, role: str) -> dict[str, Any]:
    """Return the resource of an entry of a bucket's default list for objects."""
    return {"kind": "storage#objectAccessControl", "etag": _etag(0), **_entry(entity, role)}


def _etag(metageneration: int) -> str:
    return base64.b64encode(f"acl/{metageneration}".encode()).decode()


def _entry(entity: str, role: str) -> dict[str, Any]:
    kind, _, rest = entity.partition("-")
    resource: dict[str, Any] = {"entity": entity, "role": role}
    match kind:
        case "user" | "group":
            resource["email"] = rest
        case "domain":
            resource["domain"] = rest
        case "project":
            team, _, number = rest.partition("-")
            resource["projectTeam"] = {"projectNumber": number, "team": team}
    return resource
