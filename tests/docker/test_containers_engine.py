"""Container engine: missing images, owners, and complete removal."""

import gc
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import (
    ContainerEngine,
    ContainerExit,
    ContainerRefused,
    EngineUnavailable,
    ImageMissing,
    Network,
)
from tests.docker.room import PYTHON, Room, room

__all__ = ["room"]

SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def another(room: Room) -> Iterator[Room]:
    """Return a second owner on the same engine."""
    another = Room(room.api)
    yield another
    another.clear()


@pytest.fixture
def foreign_image(room: Room) -> Iterator[str]:
    """Return an image for a rare processor."""
    config = {
        "architecture": "s390x",
        "os": "linux",
        "config": {"Cmd": ["/nothing"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    tag = f"{room.engine.owner}:foreign"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": []}]
        for name, content in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    for _ in room.api.load_image(packed.getvalue()):
        pass
    yield tag
    room.api.remove_image(tag)


def test_missing_image_error_names_image(room: Room) -> None:
    assert not room.engine.has("demo/none:1")
    with pytest.raises(ImageMissing, match="has no image demo/none:1: build it, or fetch it with"):
        room.run("pass", image="demo/none:1")


def test_invalid_image_name_is_missing_image(room: Room) -> None:
    assert not room.engine.has("No Image!")


def test_image_for_other_platform_is_refused(room: Room, foreign_image: str) -> None:
    with pytest.raises(ContainerRefused, match="is for linux/s390x, this engine runs linux/"):
        room.run("pass", image=foreign_image)


def test_image_is_found_by_digest_after_tag_moved(room: Room) -> None:
    digest = room.engine.digest(PYTHON)

    assert digest.startswith("sha256:")
    assert room.engine.has(f"any/name@{digest}")
    assert room.run("print(1)", image=f"any/name@{digest}").log == "1"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the SDK's, of a failed connect
def test_missing_engine_error_names_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(EngineUnavailable, match="start Docker and look at `docker info`"):
        ContainerEngine(owner="nobody").ping()
    gc.collect()


def test_find_returns_own_container_only(room: Room, another: Room) -> None:
    with room.running(SLEEP, name="wanted") as container:
        found = room.engine.find("wanted")
        assert found is not None
        assert (found.id, found.name) == (container.id, "wanted")
        assert another.engine.find("wanted") is None
    assert room.engine.find("wanted") is None


def test_name_in_use_is_refused(room: Room) -> None:
    with (
        room.running(SLEEP, name="once"),
        pytest.raises(ContainerRefused, match="is already in use"),
        room.running(SLEEP, name="once"),
    ):
        pass


def test_created_but_never_started_container_is_replaced(room: Room) -> None:
    room.api.create_container(
        PYTHON,
        ["true"],
        name=f"half.{room.engine.owner}",
        labels={"io.validibot.owner": room.engine.owner, "io.validibot.managed": "true"},
    )

    assert room.engine.find("half") is None
    assert room.run("print('whole')", name="half").log == "whole"


def test_exit_of_unobserved_container_is_found_later(room: Room) -> None:
    with room.running("raise SystemExit(4)", name="late") as container:
        container.wait()
        found = room.engine.find("late")
        assert found is not None
        assert found.wait() == ContainerExit(code=4)


def test_unobserved_kill_is_lost(room: Room) -> None:
    with room.running(SLEEP, name="gone") as container:
        room.api.kill(container.id)
        found = room.engine.find("gone")
        assert found is not None
        assert found.wait() == ContainerExit(signal=9, lost=True)


def test_sweep_removes_own_containers_only(room: Room, another: Room) -> None:
    with (
        room.running(SLEEP, name="kept"),
        room.running(SLEEP, name="orphan"),
        another.running(SLEEP, name="orphan") as theirs,
    ):
        assert room.engine.sweep(keep={"kept"}) == ["orphan"]
        assert room.engine.find("kept") is not None
        assert theirs.exit() is None


def test_clear_removes_everything(another: Room) -> None:
    another.engine.hold("files", {"a": b"b"}, image=PYTHON)
    another.engine.start(another.spec(SLEEP, network=Network.CALLBACK))
    assert len(another.left()) == 3

    another.engine.clear()

    assert another.left() == []


def test_network_is_created_once(room: Room) -> None:
    assert room.engine.callback_network() == room.engine.callback_network()


def test_missing_network_error_names_network(room: Room) -> None:
    with pytest.raises(ContainerRefused, match="has no network nowhere"):
        room.engine.callback_network("nowhere")
    with pytest.raises(ContainerRefused, match="network nowhere"):
        room.run("pass", network=Network.CALLBACK, network_name="nowhere")
