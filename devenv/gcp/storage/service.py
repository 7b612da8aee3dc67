"""Cloud Storage as a service of the emulated cloud: its parts, wired, over state on disk.

Metadata are rows of the cloud's SQLite file, bytes are files below `data`. An acknowledged write is
in both, so that it survives `kill -9`; what a crash left half done is removed at the next start.
"""

import logging
from pathlib import Path

from devenv.gcp.caller import Authenticator, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.iam.policies import Policies
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.storage.app import JSON_PATHS, StorageApp, Trust
from devenv.gcp.storage.blobs import Blobs
from devenv.gcp.storage.buckets import Buckets
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.json_api import JsonApi
from devenv.gcp.storage.media import Media
from devenv.gcp.storage.methods import METHODS, method_id
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.signed import Verifier
from devenv.gcp.storage.uploads import Uploads
from devenv.gcp.storage.xml_api import XmlApi
from devenv.gcp.storage.xml_multipart import XmlMultipart
from devenv.gcp.store import DeclaredNames, Store

log = logging.getLogger(__name__)


class StorageService:
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
        authenticator: Authenticator,
        verifier: Verifier,
    ) -> None:
        self._config = config
        self._catalogue = Catalogue(store)
        self._blobs = Blobs(data)
        self._declared_names = DeclaredNames(store.table("storage_declared"))
        self._buckets = Buckets(self._catalogue, clock, config.region, forget=guard.forget)
        objects = Objects(self._catalogue, self._blobs, clock)
        self._uploads = Uploads(self._catalogue, self._blobs, objects, clock)
        media = Media(objects, self._uploads, self._blobs)
        self.app = StorageApp(
            config,
            trust=Trust(authenticator, verifier, guard, clock),
            catalogue=self._catalogue,
            json_api=JsonApi(
                self._buckets,
                objects,
                policies=policies,
                project=config.project,
                number=config.number,
            ),
            xml_api=XmlApi(
                objects, media, XmlMultipart(self._catalogue, self._blobs, objects, clock)
            ),
            media=media,
        )

    def rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def mounts(self) -> tuple[HttpMount, ...]:
        """Return the app under Google's hosts, and under its paths on the plain port.

        There a signed URL begins with the name of a bucket.
        """
        buckets = tuple(f"/{name}/" for name in self._config.buckets)
        hosts = ("storage.googleapis.com", "*.storage.googleapis.com")
        return (
            HttpMount(hosts, self.app, (*JSON_PATHS, *buckets), method_id, METHODS),
            HttpMount(("www.googleapis.com",), self.app, JSON_PATHS, method_id, METHODS),
        )

    async def start(self) -> None:
        """Create the configured buckets and delete what a crash left half done.

        A bucket that the file no longer declares is deleted if it is empty: its objects are data.
        """
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

    async def stop(self) -> None:
        """Do nothing: every acknowledged write is on disk."""

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        return ()  # Cloud Storage has methods of its own for the policies of buckets
