"""Fakes of the interfaces that the services of the emulated cloud use."""

import asyncio
from collections.abc import Mapping

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.errors import NotFound, PermissionDenied
from devenv.gcp.faults import Faults
from devenv.gcp.journal import Journal
from devenv.gcp.store import Store


class MemoryStore(Store):
    """A store without a file that closes itself when its last user is gone."""

    def __init__(self) -> None:
        super().__init__(":memory:")

    def __del__(self) -> None:
        self.close()


class MemoryJournal(Journal):
    """A journal without a file that closes itself when its last user is gone."""

    def __init__(self) -> None:
        super().__init__(":memory:", ManualClock())

    def __del__(self) -> None:
        self._rows.close()


def no_faults() -> Faults:
    return Faults(MemoryStore(), ManualClock())


class Everybody:
    """Takes each request for one of the account `web`, or of the one in its Authorization header."""

    def caller(self, headers: Mapping[str, str]) -> ApiCaller:
        return ApiCaller(headers.get("authorization", "web@p.iam.gserviceaccount.com"))


type Script = list[int | Exception | asyncio.Event]


class FakeGuard:
    """Allows everything except what a test denies."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.public = False
        self.asked: list[tuple[str, str]] = []
        self.forgotten: list[str] = []

    def require(self, caller: ApiCaller, permission: str, resource: str) -> None:
        self.asked.append((permission, resource))
        if permission in self.denied:
            raise PermissionDenied(permission)

    def allows(self, caller: ApiCaller, permission: str, resource: str) -> bool:
        return (self.public or not caller.anonymous) and permission not in self.denied

    def forget(self, resource: str) -> None:
        self.forgotten.append(resource)


class FakeMinter:
    """Numbers its tokens, so that a test sees that each attempt got a new one."""

    def __init__(self) -> None:
        self.count = 0

    def knows(self, email: str) -> bool:
        return email.startswith("tasks@")

    def id_token(self, email: str, audience: str) -> str:
        self.count += 1
        return f"id-{self.count}-{email}-{audience}"

    def access_token(self, email: str, *, scopes: tuple[str, ...] = ()) -> str:
        self.count += 1
        return "-".join([f"access-{self.count}-{email}", *scopes])


class FakeTopics:
    """Keeps what is published, to every topic except those that a test removes.

    It refuses everything while `problem` is set.
    """

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.missing: set[str] = set()
        self.published: list[tuple[str, bytes, dict[str, str]]] = []

    def has(self, topic: str) -> bool:
        return topic not in self.missing

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        if self.problem:
            raise self.problem
        if topic in self.missing:
            raise NotFound(f"Resource not found (resource={topic}).")
        self.published.append((topic, data, dict(attributes)))


class FakeTarget:
    """Answers with the next entry of `script`, with 200 when it is used up."""

    def __init__(self) -> None:
        self.script: Script = []
        self.headers: dict[str, str] = {}
        self.requests: list[DeliveryRequest] = []

    async def send(self, request: DeliveryRequest) -> DeliveryAnswer:
        self.requests.append(request)
        step = self.script.pop(0) if self.script else 200
        if isinstance(step, Exception):
            raise step
        if isinstance(step, asyncio.Event):
            await step.wait()
            step = 200
        return DeliveryAnswer(step, self.headers)

    def sent(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request in self.requests]


async def settle() -> None:
    """Let what has been set off run up to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0)
