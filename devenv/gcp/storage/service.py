"""Cloud Storage as a service of the emulated cloud: its parts, wired, over state on disk.

Metadata and few bytes are rows of the cloud's SQLite file, many bytes are files below `data`. An
acknowledged write is in both, so that it survives `kill -9`; what a crash left half done is removed at the next start.
Methods are named as in Google's discovery document, by verb and path. The XML API has no names of
its own: its requests get those of the JSON API that do the same.
"""

import logging
import re
from collections.abc import Callable
from pathlib import Path

from devenv.gcp.caller import ApiCaller, Authenticator, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import Topics
from devenv.gcp.faults import Faults
from devenv.gcp.iam.policies import Policies
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.journal import Journal
from devenv.gcp.outbox import Outbox
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.acl import AccessLists
from devenv.gcp.storage.acl_api import acl_methods
from devenv.gcp.storage.app import JSON_PATHS, StorageApp, Trust
from devenv.gcp.storage.batch_calls import BatchCalls
from devenv.gcp.storage.blobs import Blobs
from devenv.gcp.storage.buckets import Buckets
from devenv.gcp.storage.bulk_restore import BulkRestores
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.drafts import ObjectDraft, ObjectRef
from devenv.gcp.storage.forms import XmlForms
from devenv.gcp.storage.hmac_keys import HmacKeys
from devenv.gcp.storage.housekeeping import StorageHousekeeping
from devenv.gcp.storage.json_api import JsonApi
from devenv.gcp.storage.media import Media
from devenv.gcp.storage.notifications import Notifications
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.parameters import Preconditions
from devenv.gcp.storage.signed import Signatures, Verifier
from devenv.gcp.storage.uploads import Uploads
from devenv.gcp.storage.xml_api import XmlApi
from devenv.gcp.storage.xml_uploads import XmlMultipart
from devenv.gcp.store import DeclaredNames, Store

_BUCKET, _OBJECT = r"/storage/v1/b/[^/]+", r"/storage/v1/b/[^/]+/o/.+"
_ITEM = {"GET": "get", "HEAD": "get", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_ENTRIES = {"GET": "list", "POST": "insert"}
_XML = {"GET": "get", "HEAD": "get", "PUT": "insert", "POST": "insert", "DELETE": "delete"}
_PATHS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        r"(/resumable)?/upload/.*",
        "objects",
        {"POST": "insert", "PUT": "insert", "DELETE": "cancel"},
    ),
    (r"/download/.*", "objects", {"GET": "get"}),
    (r"/batch/.*", "batch", {"POST": "send"}),
    (r"/storage/v1/b", "buckets", {"GET": "list", "POST": "insert"}),
    (_BUCKET, "buckets", _ITEM),
    (rf"{_BUCKET}/iam", "buckets", {"GET": "getIamPolicy", "PUT": "setIamPolicy"}),
    (rf"{_BUCKET}/iam/testPermissions", "buckets", {"GET": "testIamPermissions"}),
    (rf"{_BUCKET}/lockRetentionPolicy", "buckets", {"POST": "lockRetentionPolicy"}),
    (
        rf"{_BUCKET}/notificationConfigs",
        "notifications",
        {"GET": "list", "POST": "insert"},
    ),
    (rf"{_BUCKET}/notificationConfigs/[^/]+", "notifications", {"GET": "get", "DELETE": "delete"}),
    (rf"{_BUCKET}/storageLayout", "buckets", {"GET": "getStorageLayout"}),
    (rf"{_BUCKET}/managedFolders", "managedFolders", {"GET": "list"}),
    (rf"{_BUCKET}/o", "objects", {"GET": "list"}),
    (rf"{_BUCKET}/o/bulkRestore", "objects", {"POST": "bulkRestore"}),
    (rf"{_BUCKET}/operations", "buckets.operations", {"GET": "list"}),
    (rf"{_BUCKET}/operations/[^/]+", "buckets.operations", {"GET": "get"}),
    (rf"{_BUCKET}/operations/[^/]+/cancel", "buckets.operations", {"POST": "cancel"}),
    (rf"{_OBJECT}/compose", "objects", {"POST": "compose"}),
    (rf"{_OBJECT}/restore", "objects", {"POST": "restore"}),
    (rf"{_OBJECT}/copyTo/.+", "objects", {"POST": "copy"}),
    (rf"{_OBJECT}/rewriteTo/.+", "objects", {"POST": "rewrite"}),
    (rf"{_OBJECT}/moveTo/.+", "objects", {"POST": "move"}),
    (rf"{_BUCKET}/acl", "bucketAccessControls", _ENTRIES),
    (rf"{_BUCKET}/acl/[^/]+", "bucketAccessControls", _ITEM),
    (rf"{_BUCKET}/defaultObjectAcl", "defaultObjectAccessControls", _ENTRIES),
    (rf"{_BUCKET}/defaultObjectAcl/[^/]+", "defaultObjectAccessControls", _ITEM),
    (rf"{_BUCKET}/o/[^/]+/acl", "objectAccessControls", _ENTRIES),
    (rf"{_BUCKET}/o/[^/]+/acl/[^/]+", "objectAccessControls", _ITEM),
    (_OBJECT, "objects", _ITEM),
    (
        r"/storage/v1/projects/[^/]+/hmacKeys",
        "projects.hmacKeys",
        {"GET": "list", "POST": "create"},
    ),
    (
        r"/storage/v1/projects/[^/]+/hmacKeys/[^/]+",
        "projects.hmacKeys",
        {"GET": "get", "PUT": "update", "DELETE": "delete"},
    ),
    (r"/storage/v1/projects/[^/]+/serviceAccount", "projects.serviceAccount", {"GET": "get"}),
    (r"/(?!storage/v1/).*", "objects", _XML),
)
_NAMED = tuple((re.compile(path), kind, verbs) for path, kind, verbs in _PATHS)
METHODS = tuple(
    sorted({f"storage.{kind}.{verb}" for _, kind, verbs in _PATHS for verb in verbs.values()})
)


def method_id(verb: str, path: str) -> str:
    """Return the name of a request's method: `storage.objects.insert`."""
    for pattern, kind, verbs in _NAMED:
        if verb in verbs and pattern.fullmatch(path):
            return f"storage.{kind}.{verbs[verb]}"
    return f"storage {verb} {path[:200]}"


def _agent_of(config: CloudConfig) -> ApiCaller:
    """Return Cloud Storage's own account, which publishes notifications."""
    return ApiCaller(f"service-{config.number}@gs-project-accounts.iam.gserviceaccount.com")


log = logging.getLogger(__name__)


class StorageService(CloudService):
    """Buckets and objects of one project; `data` is the folder for the objects' bytes."""

    def __init__(  # noqa: PLR0913 - the parts of the server, by name
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        policies: Policies,
        data: Path,
        topics: Topics,
        authenticator: Authenticator,
        verifier: Verifier,
        journal: Journal,
        faults: Faults,
        who: Callable[[str], str],
    ) -> None:
        self._config, self._guard = config, guard
        self._catalogue = catalogue = Catalogue(store)
        self._blobs = blobs = Blobs(data, store)
        self._declared_names = DeclaredNames(store.table("storage_declared"))
        outbox = Outbox(store.table("storage_outbox"), _agent_of(config), guard, topics)
        self._notifications = notices = Notifications(config, catalogue, store, clock, outbox)
        lists = AccessLists(config, policies)
        self._buckets = buckets = Buckets(catalogue, clock, config.region, lists, self._forget)
        self._objects = objects = Objects(catalogue, blobs, clock, lists, notifications=notices)
        self._housekeeping = StorageHousekeeping(catalogue, blobs, objects, clock)
        self._restores = BulkRestores(store, catalogue, buckets, objects, clock)
        self._uploads = Uploads(catalogue, blobs, objects, clock)
        media = Media(objects, self._uploads, blobs)
        parts = XmlMultipart(catalogue, blobs, objects, clock)
        keys = HmacKeys(config, store.table("storage_hmac_keys"), verifier, clock)
        signatures = Signatures(verifier, keys)
        forms = XmlForms(media, signatures, clock)
        methods = acl_methods(lists, buckets, objects)
        json_api = JsonApi(
            buckets, objects, notifications=notices, policies=policies, config=config
        )
        self.app = StorageApp(
            config,
            trust=Trust(authenticator, signatures, guard, clock, lists),
            catalogue=catalogue,
            json_api=json_api,
            acl_methods=methods,
            restores=self._restores,
            hmac_keys=keys,
            xml_api=XmlApi(buckets, objects, media, parts, forms, methods),
            media=media,
            batch_calls=BatchCalls(journal, faults, who, method_id),
        )

    def _forget(self, resource: str) -> None:
        """Remove what belongs to a deleted bucket, by its full name."""
        bucket = resource.rpartition("/")[2]
        self._guard.forget(resource)
        self._notifications.forget(bucket)
        self._restores.forget(bucket)
        self._blobs.delete(*self._catalogue.drop_soft_deleted(bucket=bucket))

    def rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def mounts(self) -> tuple[HttpMount, ...]:
        """Return the app under Google's hosts, and under its paths on the plain port.

        There a signed URL begins with the name of a bucket.
        """
        buckets = tuple(f"/{name}/" for name in self._config.buckets)
        hosts = ("storage.googleapis.com", "*.storage.googleapis.com")
        return (
            HttpMount(
                hosts, self.app, (*JSON_PATHS, *buckets), method_id, METHODS, takes_rest=True
            ),
            HttpMount(("www.googleapis.com",), self.app, JSON_PATHS, method_id, METHODS),
        )

    async def start(self) -> None:
        """Create the configured buckets and delete what a crash left half done.

        A bucket that the file no longer declares is deleted if it is empty: its objects are data.
        """
        self._notifications.outbox.publish()
        self._uploads.clean()
        self._blobs.sweep(self._catalogue.blobs())
        for name in self._declared_names.dropped(self._config.buckets):
            if self._catalogue.empty(name):
                log.info("Bucket %s is no longer in devenv.toml: deleted", name)
                self._buckets.drop(name)
                self._declared_names.forget(name)
            else:
                log.warning(
                    "Bucket %s is no longer in devenv.toml, but has objects: kept until it is empty",
                    name,
                )
        self._buckets.ensure(self._config.buckets)
        self._declared_names.add(self._config.buckets)
        self._restores.start()
        self._housekeeping.start()

    async def stop(self) -> None:
        """Stop the work in the background; every acknowledged write is on disk."""
        await self._restores.stop()
        await self._housekeeping.stop()

    def write(
        self,
        caller: ApiCaller,
        bucket: str,
        name: str,
        data: bytes,
        content_type: str = "application/json",
    ) -> None:
        """Create an object for another service. Raises CloudError."""
        access = Access(self._guard, caller, self._config.project)
        conditions = Preconditions(generation=0)
        draft = ObjectDraft(bucket, name, {"contentType": content_type}, conditions)
        self._objects.insert(access, draft, self._blobs.take(data))

    def read(self, caller: ApiCaller, bucket: str, name: str) -> bytes:
        """Return the bytes of an object for another service. Raises CloudError."""
        access = Access(self._guard, caller, self._config.project)
        with self._objects.open(self._objects.get(access, ObjectRef(bucket, name))) as data:
            return data.read()

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        return ()  # Cloud Storage has methods of its own for the policies of buckets
