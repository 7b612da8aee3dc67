"""Docker backend with an engine in memory: the containers that it asks for, and their states."""

from collections.abc import Callable, Set as AbstractSet
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from containers import (
    ContainerExit,
    ContainerRefused,
    ImageMissing,
    Network,
)
from tests.unit.validibot.runs.backends.fake_engine import (
    DIGEST,
    UNREACHABLE,
    FakeContainer,
    FakeEngine,
    backend,
    folder_of,
    store,
)
from validibot.runs.backends.base import (
    ExecutionState,
    JobDefinition,
    JobRefused,
    LaunchError,
    LaunchRequest,
    Phase,
    StateUnavailable,
)
from validibot.runs.backends.docker import backend as docker, watch


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


def test_job_whose_image_the_engine_lacks_is_refused(engine: FakeEngine) -> None:
    job = JobDefinition(
        name="j",
        image="team/none@sha256:1",
        version="1",
        timeout_seconds=60,
        memory_mb=512,
        labels={},
    )
    backend().prepare(job)
    engine.errors["digest"] = ImageMissing("The engine has no image team/none.")
    with pytest.raises(JobRefused, match=r"has no image team/none\. Then prepare the job again"):
        backend().prepare(job)

    engine.errors["digest"] = UNREACHABLE
    with pytest.raises(StateUnavailable):
        backend().prepare(job)


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
