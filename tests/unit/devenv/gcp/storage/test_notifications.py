"""Notifications of a bucket: their configurations, and the messages about its objects."""

import json
from typing import Any

import pytest

from tests.unit.devenv.gcp.storage.cloud import BUCKET, BUCKET_PATH, StorageCloud, path

pytestmark = pytest.mark.anyio

CONFIGS = f"{BUCKET_PATH}/notificationConfigs"
TOPIC = "projects/local-project/topics/objects"
CONFIG = {"topic": f"//pubsub.googleapis.com/{TOPIC}", "payload_format": "JSON_API_V1"}


async def test_changes_of_objects_are_published(cloud: StorageCloud) -> None:
    custom = {"custom_attributes": {"color": "red"}, "object_name_prefix": "in/"}
    await cloud.client.post(CONFIGS, json=CONFIG | custom)
    first = (await cloud.put("in/a")).json()
    await cloud.put("elsewhere")
    await cloud.client.patch(path("in/a"), json={"metadata": {"k": "v"}})
    second = (await cloud.put("in/a", b"other")).json()
    await cloud.client.delete(path("in/a"))

    events = [
        (told["eventType"], told["objectGeneration"]) for _, _, told in cloud.topics.published
    ]
    assert events == [
        ("OBJECT_FINALIZE", first["generation"]),
        ("OBJECT_METADATA_UPDATE", first["generation"]),
        ("OBJECT_DELETE", first["generation"]),
        ("OBJECT_FINALIZE", second["generation"]),
        ("OBJECT_DELETE", second["generation"]),
    ]
    topic, data, attributes = cloud.topics.published[0]
    assert topic == TOPIC
    assert json.loads(data)["name"] == "in/a"
    assert attributes["bucketId"] == BUCKET
    assert attributes["color"] == "red"
    assert attributes["notificationConfig"] == f"projects/_/buckets/{BUCKET}/notificationConfigs/1"
    assert cloud.topics.published[2][2]["overwrittenByGeneration"] == second["generation"]
    assert cloud.topics.published[3][2]["overwroteGeneration"] == first["generation"]


async def test_refused_write_publishes_nothing(cloud: StorageCloud) -> None:
    await cloud.put("a")
    await cloud.client.post(CONFIGS, json=CONFIG)
    refused = await cloud.put("a", ifGenerationMatch=0)

    assert refused.status_code == 412
    assert cloud.topics.published == []


async def test_event_types_and_missing_payload_are_respected(cloud: StorageCloud) -> None:
    wanted = {"event_types": ["OBJECT_DELETE"], "payload_format": "NONE"}
    await cloud.client.post(CONFIGS, json=CONFIG | wanted)
    await cloud.put("a")
    await cloud.client.delete(path("a"))

    ((_, data, attributes),) = cloud.topics.published
    assert (data, attributes["eventType"], attributes["payloadFormat"]) == (
        b"",
        "OBJECT_DELETE",
        "NONE",
    )


async def test_configurations_are_listed_read_and_deleted(cloud: StorageCloud) -> None:
    made = (await cloud.client.post(CONFIGS, json=CONFIG)).json()
    await cloud.restart()
    one = f"{CONFIGS}/{made['id']}"
    found, listed = await cloud.client.get(one), await cloud.client.get(CONFIGS)
    deleted, gone = await cloud.client.delete(one), await cloud.client.get(one)

    assert found.json() == made
    assert listed.json()["items"] == [made]
    assert (deleted.status_code, gone.status_code) == (204, 404)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"topic": None}, "topic"),
        ({"payload_format": "XML"}, "payload_format"),
        ({"event_types": ["OBJECT_READ"]}, "event_types"),
        ({"custom_attributes": {"a": 1}}, "custom_attributes"),
        ({"custom_attributes": {"goog-a": "x"}}, "goog-a"),
        ({"custom_attributes": {"a": "x" * 1025}}, "1024 bytes"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_wrong_configuration_is_refused_by_name(
    cloud: StorageCloud, change: dict[str, Any], word: str
) -> None:
    refused = await cloud.client.post(CONFIGS, json=CONFIG | change)

    assert refused.status_code == 400
    assert word in refused.text


async def test_topic_must_exist_and_admit_cloud_storage(cloud: StorageCloud) -> None:
    cloud.guard.denied.add("pubsub.topics.publish")
    forbidden = await cloud.client.post(CONFIGS, json=CONFIG)
    cloud.topics.missing.add(TOPIC)
    missing = await cloud.client.post(CONFIGS, json=CONFIG)

    assert (forbidden.status_code, missing.status_code) == (403, 404)


async def test_changes_before_a_kill_are_published_in_order_after_the_start(
    cloud: StorageCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise RuntimeError("killed between the two commits")

    await cloud.client.post(CONFIGS, json=CONFIG)
    with monkeypatch.context() as patched:
        patched.setattr(cloud.topics, "publish", die)
        for name, seconds in (("a", 0), ("b", 60)):  # by a machine whose clock is set back
            cloud.clock.lose(seconds)
            with pytest.raises(RuntimeError, match="killed"):
                await cloud.put(name)
    await cloud.restart()
    await cloud.restart()

    published = cloud.topics.published
    assert [(topic, json.loads(data)["name"]) for topic, data, _ in published] == [
        (TOPIC, "a"),
        (TOPIC, "b"),
    ]
    assert {told["eventType"] for _, _, told in published} == {"OBJECT_FINALIZE"}


async def test_id_of_a_deleted_configuration_is_not_given_again(cloud: StorageCloud) -> None:
    ids = []
    for _ in range(2):
        made = (await cloud.client.post(CONFIGS, json=CONFIG)).json()
        await cloud.client.delete(f"{CONFIGS}/{made['id']}")
        await cloud.restart()
        ids.append(made["id"])

    assert ids == ["1", "2"]
