"""A runtime of jobs in which faults strike attempts: crash, out of memory, hang, no start.

Each attempt is a call `run.attempt` of the journal, by the account of its job. The program of a
struck attempt never runs: its end is made up.
"""

import asyncio
from collections.abc import Set as AbstractSet

from devenv.gcp.errors import CloudError
from devenv.gcp.fault_matchers import ATTEMPT
from devenv.gcp.faults import Faults
from devenv.gcp.journal import Journal
from devenv.gcp.run_jobs.runtimes.base import (
    AttemptExit,
    AttemptNotStarted,
    EmulatedAttempt,
    JobsRuntime,
    RunningAttempt,
)

_EXITS = {"crash": AttemptExit(code=1), "out_of_memory": AttemptExit(signal=9, out_of_memory=True)}


class FaultyRuntime(JobsRuntime):
    """`runtime` with faults."""

    def __init__(self, runtime: JobsRuntime, journal: Journal, faults: Faults) -> None:
        self._runtime = runtime
        self._journal = journal
        self._faults = faults

    async def start(self, attempt: EmulatedAttempt) -> RunningAttempt:
        with self._journal.entry(ATTEMPT, attempt.execution) as entry:
            entry.caller, entry.status = attempt.account, "started"
            try:
                async with self._faults.strike(entry) as fault:
                    if fault is None or not fault.outcome:
                        return await self._runtime.start(attempt)
                    entry.status = fault.outcome
                    return _StruckAttempt(_EXITS.get(fault.outcome))
            except CloudError as error:
                entry.status = str(error.http)
                raise AttemptNotStarted(error.message) from error
            except AttemptNotStarted:
                entry.status = "not started"
                raise

    async def pin(self, image: str) -> str | None:
        return await self._runtime.pin(image)

    def hint(self, image: str) -> str:
        return self._runtime.hint(image)

    async def adopt(self, attempt: EmulatedAttempt) -> RunningAttempt | None:
        return await self._runtime.adopt(attempt)

    async def open(self, keep: AbstractSet[str]) -> None:
        await self._runtime.open(keep)

    async def close(self) -> None:
        await self._runtime.close()

    def port(self, wanted: int) -> int:
        return self._runtime.port(wanted)

    async def host(self, attempt: EmulatedAttempt) -> str:
        return await self._runtime.host(attempt)

    def prepare(self, attempt: EmulatedAttempt) -> None:
        self._runtime.prepare(attempt)


class _StruckAttempt(RunningAttempt):
    """An attempt that has ended already, or hangs until it is terminated if `ended` is None."""

    def __init__(self, ended: AttemptExit | None) -> None:
        self._ended = ended or AttemptExit(signal=9, terminated=True)
        self._over = asyncio.Event()
        if ended:
            self._over.set()

    async def wait(self) -> AttemptExit:
        await self._over.wait()
        return self._ended

    def terminate(self) -> None:
        self._over.set()

    def discard(self) -> None:
        """Do nothing: there is neither a process nor a folder."""
