"""Storage as the published containers use it: pinned reads, create-only writes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Blob, Client
from google.oauth2.credentials import Credentials

CAPABILITY = {
    "VALIDIBOT_GCS_ACCESS_TOKEN",
    "VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY",
    "VALIDIBOT_GCS_ALLOWED_PREFIX",
    "VALIDIBOT_GCS_PROJECT_ID",
    "VALIDIBOT_GCS_CAPABILITY_REFRESH_URL",
}


class StorageRefusal(Exception):
    """Configuration or an input violates the contract."""


class Conflict(Exception):
    """The object exists already; nothing is overwritten."""


class StandinStorage:
    def __init__(self, environment: Mapping[str, str]) -> None:
        given = CAPABILITY & {name for name, value in environment.items() if value}
        required = environment.get("VALIDIBOT_GCS_CAPABILITY_REQUIRED", "").lower()
        if given and given != CAPABILITY:
            raise StorageRefusal(f"capability variables are missing: {sorted(CAPABILITY - given)}")
        if not given and required in {"1", "true", "yes", "on"}:
            raise StorageRefusal("a storage capability is required")
        self._environment = environment
        self._prefix = environment.get("VALIDIBOT_GCS_ALLOWED_PREFIX", "")
        refresh = environment.get("VALIDIBOT_GCS_CAPABILITY_REFRESH_URL", "")
        if given and not refresh.startswith("https://"):
            raise StorageRefusal("the capability refresh URL must be https")
        self._client: Client | None = None

    def read(self, uri: str, *, version: str | None = None, size: int | None = None) -> bytes:
        if uri.startswith("file:///"):
            content = _path(uri).read_bytes()
            if version not in {None, f"sha256:{hashlib.sha256(content).hexdigest()}"}:
                raise StorageRefusal(f"{uri} has another version")
        else:
            blob = self._blob(uri)
            if version is not None:
                if not version.isdecimal() or int(version) < 1:
                    raise StorageRefusal(f"{version!r} is not a generation")
                blob.reload()
                if str(blob.generation) != version:
                    raise StorageRefusal(f"{uri} is at generation {blob.generation}")
            try:
                match = None if version is None else int(version)
                content = blob.download_as_bytes(if_generation_match=match)
            except NotFound as error:
                raise FileNotFoundError(uri) from error
        if size is not None and len(content) != size:
            raise StorageRefusal(f"{uri} has {len(content)} bytes, {size} were promised")
        return content

    def create(self, uri: str, content: bytes, *, mime_type: str) -> str:
        if uri.startswith("file:///"):
            path = _path(uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError as error:
                raise Conflict(uri) from error
            return f"sha256:{hashlib.sha256(content).hexdigest()}"
        blob = self._blob(uri)
        try:
            blob.upload_from_string(content, content_type=mime_type, if_generation_match=0)
        except PreconditionFailed as error:
            raise Conflict(uri) from error
        return str(blob.generation)

    def _blob(self, uri: str) -> Blob:
        if not uri.startswith("gs://"):
            raise StorageRefusal(f"{uri!r} has an unknown scheme")
        if self._prefix and not uri.startswith(self._prefix):
            raise StorageRefusal(f"{uri} is outside of {self._prefix}")
        self._client = self._client or self._connect()
        parts = urlsplit(uri)
        return self._client.bucket(parts.netloc).blob(parts.path.removeprefix("/"))

    def _connect(self) -> Client:
        token = self._environment.get("VALIDIBOT_GCS_ACCESS_TOKEN")
        project = self._environment.get("VALIDIBOT_GCS_PROJECT_ID")
        if token:
            return Client(project=project, credentials=Credentials(token))  # type: ignore[no-untyped-call]
        if self._environment.get("STORAGE_EMULATOR_HOST"):
            return Client(project="any", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        return Client()


def _path(uri: str) -> Path:
    return Path(urlsplit(uri).path)
