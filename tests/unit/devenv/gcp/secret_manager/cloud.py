"""A Secret Manager of its own: time stands still, and topics keep what is published."""

from typing import Any

from google.cloud import secretmanager_v1

from devenv.gcp.caller import ApiCall
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.secret_manager.service import SecretManagerService
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeTopics, MemoryStore, settle

PROJECT = "projects/local-project"
NUMBERED = "projects/123456789012/secrets/key"
KEY = f"{PROJECT}/secrets/key"
LATEST = f"{KEY}/versions/latest"
AUTOMATIC: dict[str, Any] = {"replication": {"automatic": {}}}
TOPIC = {"name": f"{PROJECT}/topics/t"}
State = secretmanager_v1.SecretVersion.State


class SecretBench:
    """The service over a store that outlives it, and calls by the method's name."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.guard = FakeGuard()
        self.topics = FakeTopics()
        self.service = self.make()

    def make(self, **secrets: str) -> SecretManagerService:
        config = CloudConfig(secrets=secrets)
        service = SecretManagerService(
            config=config, store=self.store, clock=self.clock, guard=self.guard
        )
        service.use_topics(self.topics)
        return service

    async def __call__(self, method: str, request: Any = None, **fields: Any) -> Any:
        rpc = next(each for each in self.service.rpcs() if each.method.endswith(f"/{method}"))
        answer = await rpc.handle(request or rpc.request(**fields), ApiCall())
        await settle()
        assert isinstance(answer, rpc.response)
        return answer

    async def create(self, name: str = "key", **fields: Any) -> Any:
        secret = {**AUTOMATIC, **fields}
        return await self("CreateSecret", parent=PROJECT, secret_id=name, secret=secret)

    async def add(self, data: bytes = b"value", **payload: Any) -> Any:
        return await self("AddSecretVersion", parent=KEY, payload={"data": data, **payload})

    async def read(self, version: str = "latest") -> bytes:
        answer = await self("AccessSecretVersion", name=f"{KEY}/versions/{version}")
        return bytes(answer.payload.data)
