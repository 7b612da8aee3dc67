"""Instances of a revision: how many there are, who waits for one, and when they stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from google.cloud import run_v2

from devenv.gcp.clock import ManualClock
from devenv.gcp.forward.connection import Origin
from devenv.gcp.run_jobs.runtimes.base import AttemptNotStarted, EmulatedAttempt
from devenv.gcp.run_services import instances as module
from devenv.gcp.run_services.instances import InstanceNotStarted, NoInstance, RevisionInstances
from devenv.gcp.run_services.overview import exit_text
from tests.unit.devenv.gcp.fakes import settle
from tests.unit.devenv.gcp.run_jobs.bench import IMAGE, PlayedRuntime
from tests.unit.devenv.gcp.run_services.bench import instances

pytestmark = pytest.mark.anyio


def revision(**changes: Any) -> Any:
    probe = {"period_seconds": 240, "failure_threshold": 1, "tcp_socket": {"port": 8080}}
    limits = {"cpu": "1000m", "memory": "512Mi"}
    container = {
        "image": IMAGE,
        "ports": [{"container_port": 8080}],
        "resources": {"limits": limits},
        "startup_probe": probe,
    }
    settings = {"max_instance_request_concurrency": 2, "scaling": {"max_instance_count": 2}}
    return run_v2.Revision.pb()(
        **{
            "name": "projects/p/locations/r/services/s/revisions/s-1",
            "service": "s",
            "containers": [container],
            **settings,
            **changes,
        }
    )


class InstancesBench:
    """The instances of one revision, whose containers start as soon as they are asked for."""

    def __init__(self, **options: Any) -> None:
        self.clock, self.runtime = ManualClock(), PlayedRuntime()
        context = instances(self.runtime, clock=self.clock, **options.pop("context", {}))
        self.instances = RevisionInstances(revision(**options), context)
        self.stack = AsyncExitStack()

    async def request(self) -> Origin:
        """Begin a request that lasts until the end of the test."""
        return await self.stack.enter_async_context(self.instances.reach())

    @property
    def stopped(self) -> list[bool]:
        return [each.terminated for each in self.runtime.started]


@pytest.fixture(autouse=True)
def ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every startup probe succeed."""

    async def succeeds(*_: Any) -> bool:
        return True

    monkeypatch.setattr(module, "probe", succeeds)


@asynccontextmanager
async def bench(**options: Any) -> AsyncIterator[InstancesBench]:
    made = InstancesBench(**options)
    async with made.stack:
        yield made
    await made.instances.stop()


async def test_instance_takes_requests_up_to_its_concurrency() -> None:
    async with bench() as it:
        for _ in range(4):
            await it.request()

        assert len(it.runtime.started) == 2


async def test_instance_gets_the_variables_of_a_service() -> None:
    async with bench() as it:
        await it.request()
        env = it.runtime.started[0].attempt.env

    assert env == {
        "PORT": "8080",
        "K_SERVICE": "s",
        "K_REVISION": "s-1",
        "K_CONFIGURATION": "s",
    }


async def test_request_beyond_all_instances_waits_for_room() -> None:
    async with bench(scaling={"max_instance_count": 1}, max_instance_request_concurrency=1) as it:
        async with it.instances.reach():
            waiting = asyncio.create_task(it.request())
            await settle()
            assert not waiting.done()
        await waiting

        assert len(it.runtime.started) == 1


async def test_request_that_waits_too_long_gets_no_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_SHORTEST_QUEUE", 0.01)
    async with bench(scaling={"max_instance_count": 1}, max_instance_request_concurrency=1) as it:
        await it.request()
        with pytest.raises(NoInstance):
            await it.request()


async def test_cancelled_request_leaves_its_place_to_the_next() -> None:
    async with bench(scaling={"max_instance_count": 1}, max_instance_request_concurrency=1) as it:
        async with it.instances.reach():
            gone = asyncio.create_task(it.request())
            waiting = asyncio.create_task(it.request())
            await settle()
            gone.cancel()
        await waiting


async def test_failed_start_fails_the_requests_that_wait() -> None:
    async with bench() as it:
        it.runtime.broken = True
        with pytest.raises(InstanceNotStarted, match=r"No engine answers\."):
            await it.request()
        it.runtime.broken = False
        await it.request()


async def test_container_without_an_address_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(_: EmulatedAttempt) -> str:
        raise AttemptNotStarted("It is not running.")

    async with bench() as it:
        monkeypatch.setattr(it.runtime, "host", gone)
        with pytest.raises(InstanceNotStarted, match="failed to start and listen on the port"):
            await it.request()

        assert it.stopped == [True]


async def test_instance_without_requests_stops_after_idle_time() -> None:
    async with bench(context={"idle": 900.0}) as it:
        async with it.instances.reach():
            await it.clock.turn(2000)
            assert it.stopped == [False]
        await it.clock.turn(1800)

        assert it.stopped == [True]


async def test_idle_instance_stops_after_the_clock_was_reset() -> None:
    async with bench(context={"idle": 900.0}) as it:
        await it.clock.turn(86_400)
        async with it.instances.reach():
            pass
        it.clock.lose(86_400)
        await it.clock.turn(1800)

        assert it.stopped == [True]


async def test_minimum_is_started_and_kept() -> None:
    async with bench(context={"idle": 900.0}) as it:
        it.instances.scale(least=1)
        await settle()
        await it.clock.turn(5000)
        assert it.stopped == [False]

        it.runtime.started[0].end(code=1)
        await settle()
        await it.clock.turn(1)
        await settle()

        assert len(it.runtime.started) == 2


async def test_stopped_instance_is_told_of_and_replaced_by_the_next_request() -> None:
    async with bench() as it:
        await it.request()
        [(state, first)] = it.instances.all()
        assert (state, first.active) == ("ready", 1)
        assert it.instances.stop_instance(first.attempt.name)
        assert not it.instances.stop_instance(first.attempt.name)
        assert [state for state, _ in it.instances.all()] == ["stopping"]
        it.runtime.started[0].end(signal=15, terminated=True)
        await settle()
        assert [exit_text(each.exit) for each in it.instances.ended if each.exit] == [
            "stopped, signal 15"
        ]

        await it.request()
        assert len(it.runtime.started) == 2


async def test_retired_revision_finishes_its_requests_first() -> None:
    async with bench() as it:
        async with it.instances.reach():
            it.instances.retire()
            assert it.stopped == [False]

        assert it.stopped == [True]


async def test_limit_of_the_service_is_lower_than_that_of_the_revision() -> None:
    async with bench() as it:
        it.instances.scale(least=5, most=1)
        await settle()

        assert len(it.runtime.started) == 1


async def test_cold_start_delays_each_start() -> None:
    async with bench(context={"cold_start": 3.0}) as it:
        waiting = asyncio.create_task(it.request())
        await settle()
        assert not it.runtime.started
        await it.clock.turn(3)
        await waiting
