"""Cloud Run Jobs in one piece for tests: real rules and store, a runtime that tests play by hand."""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Any

from devenv.gcp.caller import ApiCall, ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig, ImageConfig, JobConfig
from devenv.gcp.errors import NotFound
from devenv.gcp.run_jobs.containers import ContainerSources
from devenv.gcp.run_jobs.resources import Execution
from devenv.gcp.run_jobs.runtimes.base import (
    AttemptExit,
    AttemptNotStarted,
    EmulatedAttempt,
    JobsRuntime,
    RunningAttempt,
    digest,
)
from devenv.gcp.run_jobs.service import RunJobsService
from devenv.gcp.store import Store
from tests.unit.devenv.gcp.fakes import FakeGuard, settle

LOCATION = "projects/demo/locations/us-west1"
JOB = f"{LOCATION}/jobs/sim"
IMAGE = "demo/sim:1"
CONFIG = CloudConfig(
    project="demo",
    accounts=("runner",),
    images=(ImageConfig(IMAGE, ("sim",)),),
    jobs=(
        JobConfig(
            "sim", IMAGE, "runner", timeout=60.0, max_retries=1, env={"MODE": "job", "A": "1"}
        ),
    ),
)


def any_network(where: str, access: Any) -> None:
    """Let every network be there."""


def no_socket(email: str, connection: str) -> str:
    raise NotFound(f"The Cloud SQL instance {connection} does not exist.")


class Played(RunningAttempt):
    """An attempt whose end the test decides."""

    def __init__(self, runtime: "PlayedRuntime", attempt: EmulatedAttempt) -> None:
        self.attempt = attempt
        self.terminated = False
        self.discarded = False
        self._runtime = runtime
        self._exit: asyncio.Future[AttemptExit] = asyncio.get_running_loop().create_future()

    async def wait(self) -> AttemptExit:
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        self.terminated = True

    def discard(self) -> None:
        self.discarded = True

    def end(self, **how: Any) -> None:
        self._exit.set_result(AttemptExit(**how))


class PlayedRuntime(JobsRuntime):
    """Starts nothing; `started` are the attempts in the order in which they were asked for."""

    def __init__(self) -> None:
        self.started: list[Played] = []
        self.survivors: dict[str, AttemptExit | None] = {}
        self.kept: AbstractSet[str] = set()
        self.broken = False
        self.closed = False

    async def pin(self, image: str) -> str | None:
        return digest(image) if digest(image) == digest(IMAGE) else None

    def hint(self, image: str) -> str:
        return "Bring it."

    async def start(self, attempt: EmulatedAttempt) -> RunningAttempt:
        if self.broken:
            raise AttemptNotStarted("No engine answers.")
        return self._add(attempt)

    async def adopt(self, attempt: EmulatedAttempt) -> RunningAttempt | None:
        if attempt.name not in self.survivors:
            return None
        played = self._add(attempt)
        if ended := self.survivors[attempt.name]:
            played._exit.set_result(ended)
        return played

    def port(self, wanted: int) -> int:
        return wanted

    async def host(self, attempt: EmulatedAttempt) -> str:
        return "127.0.0.1"

    async def open(self, keep: AbstractSet[str]) -> None:
        self.kept = keep

    async def close(self) -> None:
        self.closed = True

    def _add(self, attempt: EmulatedAttempt) -> Played:
        self.started.append(Played(self, attempt))
        return self.started[-1]


class Bench:
    """A service and what it was given."""

    def __init__(
        self,
        *,
        store: Store | None = None,
        config: CloudConfig = CONFIG,
        clock: ManualClock | None = None,
    ) -> None:
        self.store = store or Store(":memory:")
        self.clock = clock or ManualClock()
        self.guard = FakeGuard()
        self.runtime = PlayedRuntime()
        self.secrets: dict[str, bytes] = {}
        self.service = RunJobsService(
            config=config,
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            runtime=self.runtime,
            sources=ContainerSources(self._read_secret, no_socket, any_network),
        )
        self._rpcs = {rpc.method.rsplit("/", 1)[-1]: rpc for rpc in self.service.rpcs()}

    def _read_secret(self, email: str, secret: str, version: str) -> bytes:
        try:
            return self.secrets[f"{secret}@{version}"]
        except KeyError:
            raise NotFound(f"Secret [{secret}] not found or has no versions.") from None

    async def call(self, method: str, **fields: Any) -> Any:
        """Call a method as `web@demo`, its request built from `fields`."""
        rpc = self._rpcs[method]
        answer = await rpc.handle(rpc.request(**fields), ApiCall(ApiCaller("web@demo")))
        assert isinstance(answer, rpc.response)
        return answer

    async def run(self, **fields: Any) -> Any:
        """Run the job; return the execution in the operation's metadata."""
        return unpack(await self.call("RunJob", **{"name": JOB} | fields))

    async def execution(self, execution: Any) -> Any:
        await settle()
        return await self.call("GetExecution", name=execution.name)

    async def operation(self, name: str) -> Any:
        await settle()
        return await self.call("GetOperation", name=name)

    async def tasks(self, execution: Any) -> list[Any]:
        await settle()
        return list((await self.call("ListTasks", parent=execution.name)).tasks)

    async def attempt(self, index: int = -1) -> Played:
        """Return an attempt that was started, by default the latest."""
        await settle()
        return self.runtime.started[index]

    async def killed(self, config: CloudConfig = CONFIG) -> "Bench":
        """Return what another process makes of the store after this one was killed."""
        carrying = list(self.service._executions._carrying.values())
        for each in carrying:
            each.cancel()
        await asyncio.wait(carrying or [asyncio.ensure_future(settle())])
        return Bench(store=self.store, config=config, clock=self.clock)


def unpack(operation: Any) -> Any:
    """Return the execution that an operation is about."""
    execution = Execution()
    assert operation.metadata.Unpack(execution)
    return execution


def completed(record: Any) -> Any:
    """Return the condition that tells whether a record is complete."""
    return next(each for each in record.conditions if each.type_ == "Completed")
