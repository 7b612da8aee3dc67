"""Docker backend with an engine in memory: the containers it asks for, their state and their end."""

import json
import logging
import threading
from collections.abc import Callable, Mapping, Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from containers import (
    ContainerExit,
    ContainerRefused,
    ContainerSpec,
    EngineUnavailable,
    ImageMissing,
    Network,
)
from containers.resources import CallbackNetwork
from tests.waiting import until
from validibot.runs.backends.base import (
    ExecutionState,
    LaunchError,
    LaunchRequest,
    Phase,
    StateUnavailable,
)
from validibot.runs.backends.docker import backend as docker, watch

ENVELOPE = Path(__file__).parents[5] / "tests/contract/envelopes/fmu.json"
DIGEST = f"sha256:{'d' * 64}"
UNREACHABLE = EngineUnavailable("The engine does not answer.")


@dataclass
class FakeContainer:
    """A container that runs until the test or a limit ends it."""

    name: str
    own_labels: Mapping[str, str]
    lines: list[str] = field(default_factory=list)
    ended: ContainerExit | None = None
    graces: list[float] = field(default_factory=list)
    removed: bool = False
    unreachable: bool = False
    _end: threading.Event = field(default_factory=threading.Event)

    def end(self, ended: ContainerExit) -> None:
        self.ended = ended
        self._end.set()

    def exit(self) -> ContainerExit | None:
        return self.ended

    def labels(self) -> Mapping[str, str]:
        if self.unreachable:
            raise UNREACHABLE
        return self.own_labels

    def terminate(self, *, grace: float) -> None:
        self.graces.append(grace)
        self.end(ContainerExit(signal=15, terminated=True))

    def follow(self, on_line: Callable[[str], object], *, max_bytes: int) -> None:
        for line in self.lines:
            on_line(line[:max_bytes])

    def wait(self) -> ContainerExit:
        assert self._end.wait(10)
        assert self.ended
        return self.ended

    def remove(self) -> None:
        if self.unreachable:
            raise UNREACHABLE
        self.removed = True


@dataclass
class FakeEngine:
    """An engine that keeps its containers in memory; `errors` are raised by the methods named."""

    image_user: str = "1000:1000"
    errors: dict[str, Exception] = field(default_factory=dict)
    specs: list[ContainerSpec] = field(default_factory=list)
    containers: dict[str, FakeContainer] = field(default_factory=dict)

    def digest(self, image: str) -> str:
        self._fail("digest")
        return DIGEST

    def user(self, image: str) -> str:
        assert image.endswith(f"@{DIGEST}")
        return self.image_user

    def start(self, spec: ContainerSpec) -> FakeContainer:
        self._fail("start")
        self.specs.append(spec)
        self.containers[spec.name] = FakeContainer(spec.name, spec.labels)
        return self.containers[spec.name]

    def find(self, name: str) -> FakeContainer | None:
        self._fail("find")
        return self.containers.get(name)

    def sweep_if(self, unwanted: Callable[[AbstractSet[str]], AbstractSet[str]]) -> list[str]:
        self._fail("sweep_if")
        return sorted(unwanted(self.containers.keys()))

    def callback_network(self) -> CallbackNetwork:
        return CallbackNetwork("callback", "172.18.0.1")

    def _fail(self, method: str) -> None:
        if error := self.errors.get(method):
            raise error


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr(docker, "engine", lambda owner: made)
    monkeypatch.setattr(watch, "_CHECK_INTERVAL", 0.01)
    return made


@pytest.fixture
def request_(settings: Settings, tmp_path: Path) -> LaunchRequest:
    """A launch whose envelope is stored."""
    settings.DATA_ROOT = tmp_path.as_uri()
    attempt = uuid4()
    folder = tmp_path / "attempts" / str(attempt)
    folder.mkdir(parents=True)
    (folder / "model.fmu").write_bytes(b"PK")
    store(folder / "input.json", callback_url="http://worker:8001/internal/callbacks/")
    return LaunchRequest(
        run_id=uuid4(),
        attempt_id=attempt,
        job="validator-fmu",
        image="validibot/fmu:1",
        command=(),
        input_uri=(folder / "input.json").as_uri(),
        output_uri=(folder / "output.json").as_uri(),
        capability_url="http://worker:8001/internal/capabilities/",
        timeout_seconds=60,
        memory_mb=512,
    )


def store(path: Path, *, callback_url: str) -> None:
    envelope = json.loads(ENVELOPE.read_text())
    envelope["input_files"] = [
        item | {"uri": (path.parent / "model.fmu").as_uri()} for item in envelope["input_files"]
    ]
    envelope["context"]["callback_url"] = callback_url
    path.write_text(json.dumps(envelope))


def folder_of(request: LaunchRequest) -> Path:
    return Path(request.input_uri.removeprefix("file://")).parent


def backend(**options: Any) -> docker.DockerBackend:
    return docker.DockerBackend("default", {"OPTIONS": options})


@pytest.fixture
def _unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.Watch, "start", lambda self: None)


@pytest.mark.usefixtures("_unwatched")
def test_launch_asks_for_container_of_attempt(engine: FakeEngine, request_: LaunchRequest) -> None:
    launched = backend(environ={"LANG": "C"}, output_mb=7, cpus=1.5).launch(request_)

    assert (launched.execution, launched.image_digest) == (f"attempt-{request_.attempt_id}", DIGEST)
    [spec] = engine.specs
    folder = folder_of(request_)
    assert (spec.name, spec.image) == (launched.execution, f"validibot/fmu:1@{DIGEST}")
    assert spec.env == {
        "LANG": "C",
        "VALIDIBOT_INPUT_URI": request_.input_uri,
        "VALIDIBOT_OUTPUT_URI": request_.output_uri,
        "VALIDIBOT_RUN_ID": str(request_.run_id),
    }
    assert (spec.cpus, spec.user, spec.network) == (1.5, "1000:1000", Network.CALLBACK)
    assert spec.memory_bytes == 512 * 1024 * 1024
    assert {(mount.target, mount.read_only) for mount in spec.mounts} == {
        (str(folder), False),
        (str(folder / "input.json"), True),
        (str(folder / "model.fmu"), True),
    }


@pytest.mark.usefixtures("_unwatched")
def test_memory_of_validator_is_limited_by_option(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    backend(memory_mb=256).launch(request_)

    assert engine.specs[0].memory_bytes == 256 * 1024 * 1024


@pytest.mark.usefixtures("_unwatched")
def test_pinned_image_is_pinned_to_its_digest_once(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    backend().launch(replace(request_, image=f"validibot/fmu@sha256:{'e' * 64}"))

    assert engine.specs[0].image == f"validibot/fmu@{DIGEST}"


@pytest.fixture
def _own_user(own_user: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: own_user[0])
    monkeypatch.setattr("os.getegid", lambda: own_user[1])
    monkeypatch.setattr("os.chown", lambda *_: None)


@pytest.mark.usefixtures("_unwatched", "_own_user")
@pytest.mark.parametrize(
    ("option", "image_user", "own_user", "user"),
    [
        ("7:8", "9:9", (0, 0), "7:8"),
        ("", "9:10", (0, 0), "9:10"),
        ("", "", (0, 0), "1000:1000"),
        ("", "", (1234, 4321), "1234:4321"),
    ],
    ids=["option", "image", "root", "ours"],
)
def test_container_never_runs_as_root(
    engine: FakeEngine,
    request_: LaunchRequest,
    option: str,
    image_user: str,
    user: str,
) -> None:
    engine.image_user = image_user

    backend(user=option).launch(request_)

    assert engine.specs[0].user == user


@pytest.mark.usefixtures("_unwatched")
@pytest.mark.parametrize(
    ("options", "url", "hosts"),
    [
        ({}, "http://worker:8001/", {"worker": "172.18.0.1"}),
        ({}, "http://192.0.2.7:8001/", {}),
        ({"network_name": "ours"}, "http://worker:8001/", {}),
        ({"network": "open"}, "http://worker:8001/", {}),
        (
            {"network": "open"},
            "http://host.docker.internal/",
            {"host.docker.internal": "172.18.0.1"},
        ),
    ],
)
def test_host_name_of_worker_is_resolved_where_needed(
    engine: FakeEngine,
    request_: LaunchRequest,
    options: dict[str, str],
    url: str,
    hosts: dict[str, str],
) -> None:
    store(folder_of(request_) / "input.json", callback_url=url)

    backend(**options).launch(request_)

    assert engine.specs[0].hosts == hosts
    assert engine.specs[0].network_name == options.get("network_name", "")


@pytest.mark.parametrize(
    ("method", "error", "message", "flags"),
    [
        ("digest", ImageMissing("No image."), "No image. `make validators`", (True, True)),
        ("digest", UNREACHABLE, "does not answer", (False, True)),
        ("start", ContainerRefused("Bad mount."), "Bad mount.", (True, True)),
        ("start", UNREACHABLE, "does not answer", (False, False)),
    ],
)
def test_failed_launch_tells_if_engine_may_have_accepted(
    engine: FakeEngine,
    request_: LaunchRequest,
    method: str,
    error: Exception,
    message: str,
    flags: tuple[bool, bool],
) -> None:
    engine.errors[method] = error

    with pytest.raises(LaunchError, match=message) as caught:
        backend().launch(request_)

    assert (caught.value.permanent, caught.value.not_accepted) == flags


def test_launch_with_lost_or_invalid_envelope_starts_nothing(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    (folder_of(request_) / "input.json").write_text("{}")
    with pytest.raises(LaunchError, match="is not an input envelope") as caught:
        backend().launch(request_)
    assert caught.value.permanent

    (folder_of(request_) / "input.json").unlink()
    with pytest.raises(LaunchError) as caught:
        backend().launch(request_)
    assert (caught.value.permanent, caught.value.not_accepted) == (False, True)
    assert engine.specs == []


@pytest.mark.usefixtures("_unwatched")
def test_state_follows_container(engine: FakeEngine, request_: LaunchRequest) -> None:
    name = backend().launch(request_).execution
    assert backend().state(name) == ExecutionState(phase=Phase.RUNNING, execution=name)

    engine.containers[name].end(ContainerExit(code=3))
    ended = backend().state(name)
    assert (ended.phase, ended.execution) == (Phase.FAILED, name)
    assert ended.message == "It ended with exit code 3."

    del engine.containers[name]
    gone = backend().state(name)
    assert (gone.phase, gone.execution) == (Phase.FAILED, name)
    assert "Its container was removed." in gone.message


@pytest.mark.usefixtures("_unwatched")
def test_unanswered_launch_is_found_by_input(engine: FakeEngine, request_: LaunchRequest) -> None:
    asked = {"job": request_.job, "input_uri": request_.input_uri}
    assert backend().find(**asked) == ExecutionState(phase=Phase.ABSENT)

    name = backend().launch(request_).execution

    found = ExecutionState(phase=Phase.RUNNING, execution=name, image_digest=DIGEST)
    assert backend().find(**asked) == found


@pytest.mark.usefixtures("_unwatched")
def test_cancel_ends_running_container_with_grace(
    engine: FakeEngine, request_: LaunchRequest
) -> None:
    name = backend().launch(request_).execution

    assert backend().cancel(name)
    assert not backend().cancel(name)
    assert not backend().cancel("attempt-unknown")
    assert engine.containers[name].graces == [watch.GRACE_SECONDS]


def test_sweep_asks_for_attempts_only(engine: FakeEngine) -> None:
    over, active = uuid4(), uuid4()
    for name in (f"attempt-{over}", f"attempt-{active}", "postgres", f"attempt-{over}-2"):
        engine.containers[name] = FakeContainer(name, {})
    asked: list[AbstractSet[UUID]] = []

    def ended(attempts: AbstractSet[UUID]) -> AbstractSet[UUID]:
        asked.append(set(attempts))
        return {over}

    assert backend().sweep(ended) == 1
    assert asked == [{over, active}]


@pytest.mark.parametrize(
    "ask",
    [
        lambda made: made.state("attempt-1"),
        lambda made: made.find(job="", input_uri="file:///a/b/input.json"),
        lambda made: made.cancel("attempt-1"),
        lambda made: made.sweep(lambda attempts: attempts),
    ],
    ids=["state", "find", "cancel", "sweep"],
)
def test_unreachable_engine_leaves_state_unknown(
    engine: FakeEngine, ask: Callable[[docker.DockerBackend], object]
) -> None:
    engine.errors = dict.fromkeys(("find", "sweep_if"), UNREACHABLE)

    with pytest.raises(StateUnavailable, match="does not answer"):
        ask(backend())


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
    container.end(ContainerExit())

    state = ending.wait()
    until(lambda: container.removed)
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
