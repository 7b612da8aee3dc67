"""Cloud Storage as the server wires it: one HTTP app over state that survives `kill -9`."""

from pathlib import Path

from devenv.gcp.caller import Authenticator, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.rpc import Mount, Rpc
from devenv.gcp.storage.app import JSON_PATHS, StorageApp, Trust
from devenv.gcp.storage.blobs import Blobs
from devenv.gcp.storage.buckets import Buckets
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.json_api import JsonApi
from devenv.gcp.storage.media import Media
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.signed import Verifier
from devenv.gcp.storage.uploads import Uploads
from devenv.gcp.storage.xml_api import XmlApi
from devenv.gcp.store import Store


class StorageService:
    """Buckets and objects of one project; `data` is the folder for the objects' bytes."""

    def __init__(  # noqa: PLR0913 - the parts that the server has, by name
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        data: Path,
        authenticator: Authenticator,
        verifier: Verifier,
    ) -> None:
        self._config = config
        self._catalogue = Catalogue(store)
        self._blobs = Blobs(data)
        self._buckets = Buckets(self._catalogue, clock)
        objects = Objects(self._catalogue, self._blobs, clock)
        self._uploads = Uploads(self._catalogue, self._blobs, objects, clock)
        media = Media(objects, self._uploads, self._blobs)
        self.app = StorageApp(
            config,
            clock=clock,
            trust=Trust(authenticator, verifier, guard),
            json_api=JsonApi(self._buckets, objects),
            xml_api=XmlApi(objects, media),
            media=media,
        )

    def rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def mounts(self) -> tuple[Mount, ...]:
        """Return the app under Google's hosts; on the plain port, signed URLs begin with a bucket."""
        buckets = tuple(f"/{name}/" for name in self._config.buckets)
        hosts = ("storage.googleapis.com", "*.storage.googleapis.com")
        return (
            Mount(hosts, self.app, (*JSON_PATHS, *buckets)),
            Mount(("www.googleapis.com",), self.app, JSON_PATHS),
        )

    async def start(self) -> None:
        """Make the configured buckets and remove what a crash left half done."""
        self._uploads.clean()
        self._blobs.sweep(self._catalogue.blobs())
        self._buckets.ensure(self._config.buckets)

    async def stop(self) -> None:
        """Nothing to do: what was acknowledged is on disk."""
