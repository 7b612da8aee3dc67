"""Unit tests of snapshots: what they hold, how they replace data, what is refused."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from devenv.gcp.pubsub.rules import PubsubMessage, Subscription, Topic
from devenv.gcp.pubsub.state import LiveSubscription, LiveTopic, PubSubStore
from devenv.gcp.store import Store
from devenv.stack.problems import StackError, UsageProblem
from devenv.stack.snapshot import BEFORE_LOAD, Snapshot, SnapshotStore

KEEP = Snapshot(name=BEFORE_LOAD, created="now", mode="emulated")


class SnapshotMessages:
    """Pub/Sub over the database in the folder of a stack."""

    def __init__(self, state: Path) -> None:
        store = Store(state / "gcp" / "state.sqlite3")
        self.close = store.close
        self._saved = PubSubStore(store)
        if not self._saved.topics:
            self._saved.put_topic(LiveTopic(Topic(name="projects/p/topics/t")))
            wanted = Subscription(name="projects/p/subscriptions/s", topic="projects/p/topics/t")
            self._saved.put_subscription(LiveSubscription(wanted))

    def publish(self, text: str) -> None:
        (topic,) = self._saved.topics.values()
        (subscription,) = self._saved.subscriptions.values()
        with self._saved.transaction():
            message = self._saved.add_message(topic, PubsubMessage(data=text.encode()), 1.8e9)
            self._saved.deliver(subscription, message)

    def texts(self) -> list[str]:
        (subscription,) = self._saved.subscriptions.values()
        return [each.message.body.data.decode() for each in subscription.backlog.waiting()]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a folder with the data of a stack, and with what belongs to its present run."""
    (tmp_path / "postgres" / "cluster").mkdir(parents=True)
    (tmp_path / "postgres").chmod(0o700)
    for name in ("postgres/cluster/rows", "secrets.env", "state.json", "lock"):
        (tmp_path / name).write_text("first")
    return tmp_path


def save(state: Path, name: str = "monday") -> SnapshotStore:
    store = SnapshotStore(state)
    store.save(name, mode="emulated", history={"migrate": ["0001.py"]})
    return store


def change(state: Path) -> None:
    (state / "postgres" / "cluster" / "rows").write_text("second")
    (state / "mail.sqlite").write_text("second")
    (state / "secrets.env").unlink()


def data(state: Path) -> dict[str, str]:
    """Return the texts of all files but those of snapshots."""
    return {
        str(path.relative_to(state)): path.read_text()
        for path in state.rglob("*")
        if path.is_file() and not path.is_relative_to(state / "snapshots")
    }


def test_load_restores_exactly_the_saved_data(state: Path) -> None:
    store = save(state)
    before = data(state)
    change(state)

    store.load("monday", keep=None)

    assert data(state) == before
    assert (state / "postgres").stat().st_mode & 0o777 == 0o700
    assert store.names() == ["monday"]


def test_snapshot_lacks_what_belongs_to_the_run(state: Path) -> None:
    found = save(state).get("monday")

    assert list(found.entries) == ["postgres", "secrets.env"]
    assert (found.size, found.mode, found.history) == (10, "emulated", {"migrate": ["0001.py"]})
    assert (state / "snapshots").stat().st_mode & 0o777 == 0o700


def test_load_can_be_taken_back(state: Path) -> None:
    store = save(state)
    change(state)
    changed = data(state)

    store.load("monday", keep=KEEP)
    store.load(BEFORE_LOAD, keep=KEEP)

    assert data(state) == changed


@pytest.mark.parametrize("renames", range(5))
def test_interrupted_load_is_finished_later(
    state: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    store = save(state)
    before = data(state)
    change(state)
    done: list[Path] = []
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(self)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.load("monday", keep=None)
    finished = SnapshotStore(state).finish()

    assert finished is bool(renames)  # the first rename decides
    assert data(state) == before if finished else data(state) != before
    assert not (state / "loaded").exists()


def test_failed_copy_leaves_data_and_snapshots_as_they_were(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = save(state)
    change(state)
    changed = data(state)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)

    for act in (
        lambda: store.save("tuesday", mode="", history={}),
        lambda: store.load("monday", keep=KEEP),
    ):
        with pytest.raises(StackError, match="No space left on device"):
            act()
    assert (data(state), store.names()) == (changed, ["monday"])
    assert [path.name for path in (state / "snapshots").iterdir()] == ["monday"]


def test_existing_snapshot_is_replaced_on_request_only(state: Path) -> None:
    store = save(state)
    change(state)

    with pytest.raises(StackError, match="The snapshot monday exists already") as caught:
        save(state)
    store.save("monday", mode="local", history={}, replace=True)

    assert caught.value.hint == "devenv snapshot save --replace monday"
    assert store.get("monday").mode == "local"


def test_snapshot_of_another_format_is_refused(state: Path) -> None:
    store = save(state)
    path = state / "snapshots" / "monday" / "snapshot.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "more": 1}))

    with pytest.raises(StackError, match="monday has the format 2; this version reads 1"):
        store.get("monday")
    path.write_text("{")
    with pytest.raises(StackError, match="is not what `snapshot save` writes"):
        store.get("monday")
    store.delete("monday")
    assert store.names() == []


def test_unknown_snapshot_names_the_known_ones(state: Path) -> None:
    store = save(state)

    for act in (store.get, store.delete, lambda name: store.load(name, keep=None)):
        with pytest.raises(StackError, match="no snapshot 'tuesday'; there are: monday"):
            act("tuesday")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "Upper", "x" * 64])
def test_unusable_name_is_refused(state: Path, name: str) -> None:
    store = SnapshotStore(state)

    with pytest.raises(UsageProblem, match="is no name of a snapshot"):
        store.save(name, mode="", history={})
    with pytest.raises(StackError, match="There is no snapshot"):
        store.delete(name)


def test_missing_data_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="There is no data to save"):
        SnapshotStore(tmp_path / "none").save("monday", mode="", history={})


def test_messages_of_the_emulated_cloud_come_back(state: Path) -> None:
    """Save while the database has its write-ahead log, as after `kill -9` of the cloud."""
    with closing(SnapshotMessages(state)) as held:
        held.publish("first")
        store = save(state)
        held.publish("second")
        store.load("monday", keep=KEEP)
    with closing(SnapshotMessages(state)) as loaded:
        texts = loaded.texts()
    store.load(BEFORE_LOAD, keep=None)

    assert texts == ["first"]
    with closing(SnapshotMessages(state)) as undone:
        assert undone.texts() == ["first", "second"]
