"""Subscriptions that write their messages to Cloud Storage."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.pubsub_v1 import CloudStorageConfig

from devenv.gcp.caller import ApiCall, ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.errors import CloudError, InvalidArgument, PermissionDenied, Unimplemented
from devenv.gcp.pubsub.service import PubSubService
from devenv.gcp.store import Store
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeMinter, settle

pytestmark = pytest.mark.anyio

TOPIC, NAME = "projects/p/topics/orders", "projects/p/subscriptions/files"


class Files:
    """Keeps the objects that are written, and refuses while `problem` is set."""

    def __init__(self) -> None:
        self.objects: list[tuple[str, str, str, bytes]] = []
        self.problem: Exception | None = None

    def write(
        self, caller: ApiCaller, bucket: str, name: str, data: bytes, content_type: str
    ) -> None:
        if self.problem:
            raise self.problem
        self.objects.append((caller.email, bucket, name, data))


class FilesBench:
    """Pub/Sub over a store that outlives it, with calls by the name of the method."""

    def __init__(self) -> None:
        self.store, self.clock, self.guard = Store(":memory:"), ManualClock(), FakeGuard()
        self.files = Files()
        self.service = self.make()

    def make(self) -> PubSubService:
        service = PubSubService(
            config=CloudConfig(project="p", number="123"),
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            minter=FakeMinter(),
            send=_send,
        )
        service.use_storage(self.files)
        return service

    async def __call__(self, method: str, **fields: Any) -> Any:
        found = (each for each in self.service.rpcs() if each.method.endswith(f"/{method}"))
        rpc: Any = next(found)
        answer = await rpc.handle(rpc.request(**fields), ApiCall())
        await settle()
        return answer

    async def subscribe(self, **config: Any) -> Any:
        wanted = {"bucket": "b", **config}
        return await self("CreateSubscription", name=NAME, topic=TOPIC, cloud_storage_config=wanted)

    async def publish(self, *texts: str) -> None:
        messages = [{"data": text.encode()} for text in texts]
        await self("Publish", topic=TOPIC, messages=messages)

    async def waiting(self) -> int:
        [subscription] = self.service.overview({})["subscriptions"]
        return int(subscription["depth"])


async def _send(request: DeliveryRequest) -> DeliveryAnswer:
    return DeliveryAnswer(200, {})


@pytest.fixture
async def bench() -> AsyncIterator[FilesBench]:
    bench = FilesBench()
    await bench.service.start()
    await bench("CreateTopic", name=TOPIC)
    yield bench
    await bench.service.stop()
    bench.store.close()


async def test_messages_are_written_when_their_time_is_over(bench: FilesBench) -> None:
    made = await bench.subscribe(filename_prefix="in/", filename_suffix=".txt")
    await bench.publish("one", "two")
    await bench.clock.turn(200)
    await bench.publish("three")
    await bench.clock.turn(99)
    assert bench.files.objects == []
    await bench.clock.turn(1)

    [(writer, bucket, name, data)] = bench.files.objects
    assert writer == "service-123@gcp-sa-pubsub.iam.gserviceaccount.com"
    assert (bucket, data) == ("b", b"one\ntwo\nthree\n")
    assert name.startswith("in/2027-01-15T08:05:00+00:00_")
    assert name.endswith(".txt")
    assert await bench.waiting() == 0
    config = made.cloud_storage_config
    assert config.state == CloudStorageConfig.State.ACTIVE
    assert config.max_duration.seconds == 300


async def test_file_is_written_at_once_when_it_is_full(bench: FilesBench) -> None:
    await bench.subscribe(max_bytes=1000, filename_datetime_format="YYYY/MM-DD_hh_mm_ss")
    await bench.publish("x" * 600)
    await bench.publish("y" * 600)

    [(_, _, name, data)] = bench.files.objects
    assert len(data) == 1202
    assert name.startswith("2027/01-15_08_00_00_")


async def test_long_turn_of_the_clock_writes_messages_once(bench: FilesBench) -> None:
    await bench.subscribe()
    await bench.publish("one", "two")
    bench.clock.lose(-86_400)  # one jump, and all that waits is still to come
    await bench.publish("three")
    await bench.clock.turn(300)

    assert [data for *_, data in bench.files.objects] == [b"one\ntwo\nthree\n"]


async def test_file_is_due_as_before_after_the_clock_lost_time(bench: FilesBench) -> None:
    await bench.subscribe()
    await bench.publish("one")
    bench.clock.lose(3600)
    bench.service.take_back(3600)
    await bench.clock.turn(300)

    assert len(bench.files.objects) == 1


async def test_messages_are_pulled_once_the_bucket_is_taken_away(bench: FilesBench) -> None:
    await bench.subscribe()
    await bench.publish("one")
    await bench(
        "UpdateSubscription",
        subscription={"name": NAME, "topic": TOPIC},
        update_mask={"paths": ["cloud_storage_config"]},
    )
    answer = await bench("Pull", subscription=NAME, max_messages=1)

    assert [each.message.data for each in answer.received_messages] == [b"one"]


@pytest.mark.parametrize("problem", [PermissionDenied("no"), OSError("No space left on device")])
async def test_file_that_cannot_be_written_is_tried_again(
    bench: FilesBench, problem: Exception
) -> None:
    await bench.subscribe(max_bytes=1000)
    bench.files.problem = problem
    await bench.publish("x" * 1000)
    await bench.clock.turn(9)
    assert (bench.files.objects, await bench.waiting()) == ([], 1)
    bench.files.problem = None
    await bench.clock.turn(10)

    assert len(bench.files.objects) == 1
    assert await bench.waiting() == 0


async def test_messages_that_could_not_be_taken_are_taken_later(
    bench: FilesBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = bench.service.broker.saved
    save, problems = saved.save, [sqlite3.OperationalError("database or disk is full")]

    def fail_once(live: Any, entry: Any) -> None:
        if problems and entry.attempts:
            raise problems.pop()
        save(live, entry)

    monkeypatch.setattr(saved, "save", fail_once)
    await bench.subscribe(max_bytes=1000)
    await bench.publish("x" * 1000)
    assert (bench.files.objects, problems) == ([], [])
    await bench.clock.turn(1)

    assert len(bench.files.objects) == 1


async def test_message_without_a_file_comes_again_after_a_stop(bench: FilesBench) -> None:
    await bench.subscribe()
    await bench.publish("one")
    await bench.service.stop()
    bench.service = bench.make()
    await bench.service.start()
    await settle()
    await bench.clock.turn(300)

    assert [data for *_, data in bench.files.objects] == [b"one\n"]


async def test_subscription_with_a_bucket_is_not_pulled(bench: FilesBench) -> None:
    await bench.subscribe()

    with pytest.raises(CloudError, match="not supported for this subscription type"):
        await bench("Pull", subscription=NAME, max_messages=1)


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        ({"bucket": ""}, InvalidArgument, "bucket is missing"),
        ({"filename_suffix": "/"}, InvalidArgument, "must not end in"),
        ({"max_duration": {"seconds": 30}}, InvalidArgument, "1 to 10 minutes"),
        ({"max_bytes": 10}, InvalidArgument, "1 KB to 10 GiB"),
        ({"max_messages": 10}, InvalidArgument, "1000 or more"),
        ({"avro_config": {}}, Unimplemented, "avro_config"),
        ({"service_account_email": "nobody@p"}, InvalidArgument, "does not exist"),
    ],
)
async def test_invalid_file_settings_are_refused(
    bench: FilesBench, config: dict[str, Any], error: type[CloudError], text: str
) -> None:
    with pytest.raises(error, match=text):
        await bench.subscribe(**config)


async def test_agent_needs_a_right_on_the_bucket(bench: FilesBench) -> None:
    bench.guard.denied.add("storage.buckets.get")

    with pytest.raises(PermissionDenied):
        await bench.subscribe()
    assert bench.guard.asked[-1] == ("storage.buckets.get", "projects/_/buckets/b")
