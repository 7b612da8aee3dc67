"""The `docker` runtime against a stub of the engine."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from containers import (
    ContainerExit,
    ContainerRefused,
    ContainerSpec,
    EngineUnavailable,
    ImageMissing,
    Network,
)
from devenv.gcp.config import ImageConfig
from devenv.gcp.errors import Unavailable
from devenv.gcp.run_jobs.runtimes.base import AttemptExit, AttemptNotStarted, OutputStream
from devenv.gcp.run_jobs.runtimes.docker import DockerRuntime
from tests.unit.devenv.gcp.run_jobs.processes import eventually, make_attempt

pytestmark = pytest.mark.anyio
AWAY = EngineUnavailable("No engine.")


class StubContainer:
    name = "demo-abcde-task0-0"

    def __init__(self, ended: ContainerExit) -> None:
        self.ended = ended
        self.removed = False

    def wait(self) -> ContainerExit:
        return self.ended

    def follow(self, on_line: Any, *, max_bytes: int, max_line: int, on_error_line: Any) -> None:
        on_line("one")
        on_error_line("two")

    def remove(self) -> None:
        self.removed = True


class StubEngine:
    """Does what the test has put into its fields; an exception there is raised."""

    def __init__(self) -> None:
        self.container: Any = StubContainer(ContainerExit())
        self.swept: Any = []
        self.pinned: Any = "sha256:1"
        self.specs: list[ContainerSpec] = []
        self.cleared = False
        self.made_for = ""

    def digest(self, image: str) -> str:
        return str(_give(self.pinned))

    def user(self, image: str) -> str:
        return self.made_for

    def hold(self, name: str, files: Any, *, image: str) -> str:
        return f"volume-of-{name}"

    def start(self, spec: ContainerSpec) -> Any:
        self.specs.append(spec)
        return _give(self.container)

    def find(self, name: str, *, peer: Any) -> Any:
        return _give(self.container)

    def sweep(self, *, keep: Any) -> Any:
        return _give(self.swept)

    def labels_at(self, address: str) -> Any:
        return _give({"10.0.0.2": {"devenv.account": "a@b"}}.get(address))

    def clear(self) -> None:
        self.cleared = True

    def close(self) -> None: ...


def _give(what: Any) -> Any:
    if isinstance(what, Exception):
        raise what
    return what


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine()


@pytest.fixture
def runtime(engine: StubEngine, tmp_path: Path) -> DockerRuntime:
    (tmp_path / "bundle.pem").write_text("PEM")
    return DockerRuntime(
        engine,  # type: ignore[arg-type]
        environ=lambda account: {"WHO": account, "A": "cloud"},
        bundle=tmp_path / "bundle.pem",
        data=tmp_path,
        images=[ImageConfig("demo/made:1", build="make demo"), ImageConfig("demo/told:1")],
        network="jobs",
    )


async def test_container_gets_command_environment_and_limits_of_job(
    runtime: DockerRuntime, engine: StubEngine
) -> None:
    await runtime.open(set())
    await (await runtime.start(make_attempt(cpus=0.5, env={"A": "job"}))).wait()

    [spec] = engine.specs
    assert (spec.network, spec.network_name) == (Network.CALLBACK, "jobs")
    assert (spec.cpus, spec.memory_bytes, spec.scratch_bytes) == (0.5, 2**29, 2**28)
    assert spec.env == {"WHO": "runner@demo", "A": "job"}
    assert [mount.source for mount in spec.mounts] == ["volume-of-certificates"]
    assert all(mount.read_only for mount in spec.mounts)


@pytest.mark.parametrize(("made_for", "user"), [("4711:4711", "4711:4711"), ("", "1000:1000")])
async def test_container_runs_as_user_of_image(
    runtime: DockerRuntime, engine: StubEngine, made_for: str, user: str
) -> None:
    engine.made_for = made_for
    await runtime.open(set())
    await (await runtime.start(make_attempt())).wait()

    assert engine.specs[0].user == user


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (ContainerExit(code=3), AttemptExit(code=3)),
        (ContainerExit(signal=9, out_of_memory=True), AttemptExit(signal=9, out_of_memory=True)),
        (ContainerExit(code=1, child_out_of_memory=True), AttemptExit(code=1, out_of_memory=True)),
        (ContainerExit(child_out_of_memory=True), AttemptExit()),
        (ContainerExit(signal=15, terminated=True), AttemptExit(signal=15, terminated=True)),
        (ContainerExit(lost=True), AttemptExit(lost=True)),
    ],
)
async def test_exit_is_reported_as_by_cloud_run(
    runtime: DockerRuntime, engine: StubEngine, ended: ContainerExit, told: AttemptExit
) -> None:
    engine.container = StubContainer(ended)
    await runtime.open(set())
    running = await runtime.start(make_attempt())

    assert await running.wait() == told


async def test_log_continues_after_restart(runtime: DockerRuntime, tmp_path: Path) -> None:
    await runtime.open(set())
    log = tmp_path / "logs" / "demo-abcde" / "task0-0.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\n")
    told: list[Any] = []
    runtime.on_lines = lambda _attempt, lines: told.extend(lines)
    running = await runtime.adopt(make_attempt())
    assert running is not None
    await running.wait()

    assert log.read_text() == "one\ntwo\n"
    assert told == [(OutputStream.STDERR, "two")]


@pytest.mark.parametrize("error", [AWAY, ImageMissing("No image."), ContainerRefused("No.")])
async def test_container_that_cannot_start_reports_reason(
    runtime: DockerRuntime, engine: StubEngine, error: Exception
) -> None:
    engine.container = error

    with pytest.raises(AttemptNotStarted, match=str(error)):
        await runtime.start(make_attempt())


async def test_image_is_pinned_to_digest(runtime: DockerRuntime, engine: StubEngine) -> None:
    assert await runtime.pin("host:5000/a/b:1") == "host:5000/a/b@sha256:1"
    engine.pinned = ImageMissing("No image.")
    assert await runtime.pin("a/b:1") is None
    engine.pinned = AWAY
    with pytest.raises(AttemptNotStarted, match="No engine"):
        await runtime.pin("a/b:1")


async def test_runtime_without_engine_does_not_open(
    runtime: DockerRuntime, engine: StubEngine
) -> None:
    engine.swept = AWAY

    with pytest.raises(Unavailable, match="No engine"):
        await runtime.open(set())


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        ("demo/made:1", "Build it: make demo"),
        ("demo/made@sha256:1", "Build it: make demo"),
        ("demo/told:1", "docker pull demo/told:1"),
        ("demo/tool:1", "docker pull demo/tool:1"),
    ],
)
async def test_missing_image_error_names_build_command(
    runtime: DockerRuntime, image: str, hint: str
) -> None:
    assert runtime.hint(image).endswith(hint)


async def test_account_is_found_by_container_address(
    runtime: DockerRuntime, engine: StubEngine
) -> None:
    assert await runtime.account_at("10.0.0.2") == "a@b"
    assert await runtime.account_at("10.0.0.3") is None


async def test_container_found_while_starting_is_kept(
    runtime: DockerRuntime, engine: StubEngine
) -> None:
    start = asyncio.create_task(runtime.start(make_attempt()))
    await asyncio.sleep(0)
    start.cancel()
    await runtime.close()

    assert engine.specs
    assert engine.cleared


async def test_finished_container_is_removed(runtime: DockerRuntime, engine: StubEngine) -> None:
    await runtime.open(set())
    running = await runtime.start(make_attempt())
    await running.wait()
    running.discard()

    assert await eventually(lambda: engine.container.removed)


async def test_termination_is_known_after_restart(
    runtime: DockerRuntime, engine: StubEngine, tmp_path: Path
) -> None:
    await runtime.open(set())
    (tmp_path / "ending" / make_attempt().name).touch()
    engine.container = StubContainer(ContainerExit(signal=15, lost=True))
    running = await runtime.adopt(make_attempt())
    assert running is not None

    assert await running.wait() == AttemptExit(signal=15, terminated=True)


async def test_termination_is_repeated_until_engine_answers(
    runtime: DockerRuntime, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devenv.gcp.run_jobs.runtimes.docker._AGAIN", 0.01)
    looks, asked = iter((AWAY, AWAY, None)), threading.Event()

    def end(*, grace: float) -> None:
        asked.set()

    engine.container.exit = lambda: _give(next(looks))
    engine.container.terminate = end
    engine.container.wait = lambda: asked.wait() and ContainerExit(signal=15, terminated=True)
    await runtime.open(set())
    running = await runtime.start(make_attempt())
    running.terminate()

    assert await running.wait() == AttemptExit(signal=15, terminated=True)
