"""Watch of a container: the report of its end, its limits and its log."""

import logging
import threading
from dataclasses import replace

import pytest

from containers import (
    ContainerExit,
)
from tests.unit.validibot.runs.backends.fake_engine import (
    FakeContainer,
    FakeEngine,
    backend,
    folder_of,
)
from tests.waiting import until
from validibot.runs.backends.base import (
    ExecutionState,
    LaunchRequest,
    Phase,
)
from validibot.runs.backends.docker import watch


class Ending:
    """Receives the final state of an execution."""

    def __init__(self) -> None:
        self.states: list[ExecutionState] = []

    def __call__(self, state: ExecutionState) -> None:
        self.states.append(state)

    def wait(self) -> ExecutionState:
        until(lambda: bool(self.states))
        [state] = self.states
        return state


def test_end_of_container_is_reported_before_its_removal(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    removed_before: list[bool] = []
    ending = Ending()

    def on_end(state: ExecutionState) -> None:
        removed_before.append(container.removed)
        ending(state)

    name = backend().launch(replace(request_, on_end=on_end)).execution
    container = engine.containers[name]
    threads = {thread.name for thread in threading.enumerate() if name in thread.name}
    container.end(ContainerExit())

    state = ending.wait()
    until(lambda: container.removed)
    assert threads == {f"{name}_follow", f"{name}_limit"}
    assert (state.phase, state.execution) == (Phase.SUCCEEDED, name)
    assert (removed_before, container.graces) == ([False], [])


def test_end_is_reported_although_engine_is_gone(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    ending = Ending()
    name = backend().launch(replace(request_, on_end=ending)).execution
    engine.containers[name].unreachable = True
    engine.containers[name].end(ContainerExit(lost=True))

    state = ending.wait()

    assert state.phase is Phase.FAILED
    assert state.message.startswith("Its container ended with the Docker engine")


def test_container_beyond_its_time_is_ended_as_timed_out(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    ending = Ending()
    name = backend().launch(replace(request_, on_end=ending, timeout_seconds=0)).execution

    assert ending.wait().phase is Phase.TIMED_OUT

    container = engine.containers[name]
    until(lambda: container.removed)
    assert set(container.graces) == {watch.GRACE_SECONDS}
    # Reported: another container of this name ends as what it is.
    assert backend().state(name).phase is Phase.FAILED


def test_container_beyond_its_output_limit_is_killed(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    ending = Ending()
    (folder_of(request_) / "big").write_bytes(bytes(1024 * 1024))

    name = backend(output_mb=1).launch(replace(request_, on_end=ending)).execution

    state = ending.wait()
    assert (state.phase, state.message) == (
        Phase.FAILED,
        "It wrote more than the 1 MB that it may write.",
    )
    assert set(engine.containers[name].graces) == {0}


def test_container_log_is_copied_into_worker_log(
    request_: LaunchRequest, caplog: pytest.LogCaptureFixture
) -> None:
    container = FakeContainer("attempt-1", {}, lines=["hello"])
    container.end(ContainerExit())
    ending = Ending()

    with caplog.at_level(logging.INFO, watch.__name__):
        watch.Watch(
            container=container,  # type: ignore[arg-type]
            request=replace(request_, on_end=ending),
            max_output_bytes=2**20,
        ).start()
        ending.wait()

    assert "validator: hello" in caplog.messages
