"""Cloud Storage alone on a loopback port: `python -m tests.emulator.storage_server FOLDER PORT`."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import requests
import uvicorn

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.clock import SystemClock
from devenv.gcp.config import CloudConfig, IamBinding
from devenv.gcp.faults import Faults
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies
from devenv.gcp.identity.identity import Identity
from devenv.gcp.journal import Journal
from devenv.gcp.storage.service import StorageService
from devenv.gcp.store import Store
from tests.ports import free_port
from tests.unit.devenv.gcp.fakes import FakeTopics, MemoryStore
from tests.waiting import LIMIT, until

BUCKET = "validibot-local"
CONFIG = CloudConfig(
    accounts=("web", "validator", "admin"),
    buckets=(BUCKET,),
    bindings=(
        IamBinding("web", "roles/storage.objectUser", f"bucket/{BUCKET}"),
        IamBinding("validator", "roles/storage.objectViewer", f"bucket/{BUCKET}"),
        IamBinding("validator", "roles/storage.objectCreator", f"bucket/{BUCKET}"),
        IamBinding("admin", "roles/storage.admin"),
    ),
)


class Running:
    """A server in a process of its own, killed at the end: `with Running(folder) as running:`.

    A thread of the test process could deadlock: a client that is garbage-collected there may make a
    request, and wait for the thread that has to answer it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.identity = _identity(folder, MemoryStore())
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def token(self, account: str, boundary: AccessBoundary | None = None) -> str:
        return self.identity.access_token(CONFIG.email(account), boundary=boundary)

    def __enter__(self) -> Self:
        module = ("-m", "tests.emulator.storage_server")
        arguments = (str(self._folder), str(self._port))
        self.process = subprocess.Popen([sys.executable, *module, *arguments])
        until(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            requests.get(self.url, timeout=LIMIT)
        except requests.RequestException:
            return False
        return True


async def serve(folder: Path, port: int) -> None:
    clock, store = SystemClock(), Store(folder / "state.sqlite3")
    identity = _identity(folder, store)
    policies = Policies(CONFIG, store, is_account=identity.knows)
    service = StorageService(
        config=CONFIG,
        store=store,
        clock=clock,
        guard=Iam(CONFIG, policies, clock),
        policies=policies,
        data=folder / "objects",
        topics=FakeTopics(),
        authenticator=identity,
        verifier=identity,
        journal=Journal(":memory:", clock),
        faults=Faults(store, clock),
        who=identity.who,
    )
    await service.start()
    config = uvicorn.Config(service.app, lifespan="off", log_level="error", ws="none")
    await uvicorn.Server(config).serve(sockets=[listen(port)])


def listen(port: int = 0) -> socket.socket:
    # asyncio turns Nagle's delay off only for sockets that say that they are TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    return listening


def _identity(folder: Path, store: Store) -> Identity:
    return Identity(config=CONFIG, folder=folder / "keys", clock=SystemClock(), store=store)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
