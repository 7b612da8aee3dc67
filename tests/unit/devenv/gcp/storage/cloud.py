"""Cloud Storage for unit tests: a manual clock, tokens with names, no sockets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from devenv.gcp.caller import AccessBoundary, ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import PermissionDenied, Unauthenticated
from devenv.gcp.faults import Faults
from devenv.gcp.iam.policies import Policies
from devenv.gcp.storage.service import StorageService
from devenv.gcp.store import Store
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeTopics, MemoryJournal

BUCKET = "local-project"
OBJECTS = f"/storage/v1/b/{BUCKET}/o"
BUCKETS = "/storage/v1/b?project=local-project"
BUCKET_PATH = f"/storage/v1/b/{BUCKET}"
UPLOAD = f"/upload/storage/v1/b/{BUCKET}/o"
KIB256 = 256 * 1024


class StorageGuard(FakeGuard):
    """Also refuses strangers, and callers without an account unless the bucket is public."""

    def __init__(self) -> None:
        super().__init__()
        self.strangers: set[str] = set()

    def require(self, caller: ApiCaller, permission: str, resource: str) -> None:
        super().require(caller, permission, resource)
        if (caller.anonymous and not self.public) or caller.email in self.strangers:
            raise PermissionDenied(permission)


class Tokens:
    """Knows the tokens that a test has issued, and signatures that are made of the account."""

    def __init__(self) -> None:
        self.callers: dict[str, ApiCaller] = {"good": ApiCaller("web@p.iam.gserviceaccount.com")}

    def caller(self, headers: Mapping[str, str]) -> ApiCaller:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or token not in self.callers:
            raise Unauthenticated("Invalid Credentials")
        return self.callers[token]

    def downscope(self, name: str, role: str, condition: str) -> None:
        resource = f"//storage.googleapis.com/projects/_/buckets/{BUCKET}"
        boundary = AccessBoundary(((resource, (f"inRole:{role}",), condition),))
        self.callers[name] = ApiCaller("web@p.iam.gserviceaccount.com", boundary)

    def verify_signature(self, email: str, payload: bytes, signature: bytes) -> bool:
        return signature == sign(email, payload)

    def is_enabled(self, email: str) -> bool:
        return email == "web@p.iam.gserviceaccount.com"


def sign(email: str, payload: bytes) -> bytes:
    return email.encode()[:4] + payload[-64:]


class StorageCloud:
    """The service over a folder that outlives it, and a client that asks it without sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.guard = StorageGuard()
        self.tokens = Tokens()
        self.topics = FakeTopics()
        self.client = httpx.AsyncClient()
        self.buckets: tuple[str, ...] = (BUCKET,)

    async def start(self) -> None:
        """Start a service on what is in the folder."""
        self.store = Store(self.folder / "gcp.db")
        self.journal, self.faults = MemoryJournal(), Faults(self.store, self.clock)
        self.service = StorageService(
            config=CloudConfig(buckets=self.buckets),
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            policies=Policies(CloudConfig(), self.store, is_account=lambda _: True),
            data=self.folder / "objects",
            topics=self.topics,
            authenticator=self.tokens,
            verifier=self.tokens,
            journal=self.journal,
            faults=self.faults,
            who=lambda authorization: authorization.removeprefix("Bearer "),
        )
        await self.service.start()
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.service.app, raise_app_exceptions=True),
            base_url="http://storage.googleapis.com",
            headers={"authorization": "Bearer good"},
        )

    async def restart(self) -> None:
        self.store.close()
        await self.start()

    async def put(self, name: str, data: bytes = b"data", **query: Any) -> httpx.Response:
        """Write an object with a simple upload."""
        params = {"uploadType": "media", "name": name, **query}
        return await self.client.post(UPLOAD, params=params, content=data)

    async def get(self, name: str, **query: Any) -> httpx.Response:
        return await self.client.get(path(name), params=query)

    async def read(self, name: str, **headers: str) -> httpx.Response:
        return await self.client.get(path(name), params={"alt": "media"}, headers=headers)

    async def begin(self, name: str, *, headers: dict[str, str] | None = None, **query: Any) -> str:
        """Open a resumable upload and return its session's URI."""
        params = {"uploadType": "resumable", "name": name, **query}
        response = await self.client.post(UPLOAD, params=params, headers=headers)
        assert response.status_code == 200, response.text
        return response.headers["location"]

    async def chunk(self, session: str, content_range: str, data: bytes = b"") -> httpx.Response:
        headers = {"content-range": content_range}
        return await self.client.put(session, content=data, headers=headers)

    async def without_token(self, method: str, url: str, **options: Any) -> httpx.Response:
        token = self.client.headers.pop("authorization")
        try:
            return await self.client.request(method, url, **options)
        finally:
            self.client.headers["authorization"] = token

    def blobs(self) -> int:
        """Return how many blobs there are: files, and rows of few bytes."""
        (rows,) = self.store.execute("SELECT count(*) FROM storage_bytes").fetchone()
        return len(list((self.folder / "objects").iterdir())) + int(rows)


def path(name: str) -> str:
    return f"{OBJECTS}/{quote(name, safe='')}"


def reason(response: httpx.Response) -> str:
    """Return `errors[].reason` of an error in Google's shape."""
    error = json.loads(response.content)["error"]
    assert error["code"] == response.status_code
    assert error["message"] == error["errors"][0]["message"]
    return str(error["errors"][0]["reason"])
