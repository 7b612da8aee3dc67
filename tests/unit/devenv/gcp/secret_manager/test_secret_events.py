"""Secret Manager: filters of lists, messages to topics, and rotation."""

import json
import sqlite3

import pytest

from devenv.gcp.errors import InvalidArgument, NotFound, PermissionDenied
from tests.unit.devenv.gcp.secret_manager.cloud import KEY, NUMBERED, PROJECT, TOPIC, SecretBench

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name:key", ["key"]),
        ("KEY", ["key"]),
        ("name=a OR name=c", ["c", "a"]),
        ("labels.env=prod AND NOT name:secrets/c", ["a"]),
        ("labels:env -name=a", ["c"]),
        ("(name:a OR name:key) labels.env:*", ["a"]),
        ('create_time>="2027-01-15T08:00:01Z"', ["c", "key"]),
        ("createTime<2027-01-15T08:00:01Z", ["a"]),
        ("create_time<=2027-01-15T08:00:01.5Z name:a", ["a"]),
        ("create_time<=2027-01-15T08:00:00.5Z", ["a"]),
        ("labels.env!=prod", ["key"]),
        ("topics:*", []),
    ],
)
async def test_list_of_secrets_is_filtered(cloud: SecretBench, text: str, found: list[str]) -> None:
    for name in ("a", "key", "c"):
        await cloud.create(name, **({} if name == "key" else {"labels": {"env": "prod"}}))
        await cloud.clock.turn(1)
    answer = await cloud("ListSecrets", parent=PROJECT, filter=text)

    assert [each.name.rpartition("/")[2] for each in answer.secrets] == found
    assert answer.total_size == len(found)


async def test_list_of_versions_is_filtered(cloud: SecretBench) -> None:
    await cloud.create()
    for _ in range(2):
        await cloud.add()
    await cloud("DisableSecretVersion", name=f"{KEY}/versions/1")
    answer = await cloud("ListSecretVersions", parent=KEY, filter="state:ENABLED")

    assert [each.name[-1] for each in answer.versions] == ["2"]


@pytest.mark.parametrize("text", ["a=", "(a", "a)", "=b", "a OR", '"', "a=(", "(" * 30, "x" * 3000])
async def test_invalid_filter_is_refused(cloud: SecretBench, text: str) -> None:
    with pytest.raises(InvalidArgument, match="filter"):
        await cloud("ListSecrets", parent=PROJECT, filter=text)


async def test_changes_are_published_to_the_topics_of_a_secret(cloud: SecretBench) -> None:
    await cloud.create(topics=[TOPIC])
    await cloud.add()
    for verb in ("Disable", "Enable", "Destroy"):
        await cloud(f"{verb}SecretVersion", name=f"{KEY}/versions/1")
    mask = {"paths": ["labels"]}
    await cloud("UpdateSecret", secret={"name": KEY, "labels": {"a": "b"}}, update_mask=mask)
    await cloud("DeleteSecret", name=KEY)
    await cloud.create("silent")

    events = [attributes for _, _, attributes in cloud.topics.published]
    assert [each["eventType"] for each in events] == [
        *("TOPIC_CONFIGURED", "SECRET_CREATE", "SECRET_VERSION_ADD", "SECRET_VERSION_DISABLE"),
        *("SECRET_VERSION_ENABLE", "SECRET_VERSION_DESTROY", "SECRET_UPDATE", "SECRET_DELETE"),
    ]
    assert {topic for topic, _, _ in cloud.topics.published} == {TOPIC["name"]}
    assert events[2] == {
        "eventType": "SECRET_VERSION_ADD",
        "dataFormat": "JSON_API_V1",
        "secretId": NUMBERED,
        "versionId": f"{NUMBERED}/versions/1",
        "timestamp": events[2]["timestamp"],
    }
    assert events[-1]["deleteType"] == "REQUESTED"
    version = json.loads(cloud.topics.published[2][1])
    assert (version["name"], version["state"]) == (f"{NUMBERED}/versions/1", "ENABLED")


async def test_topics_need_to_exist_and_the_right_of_the_agent(cloud: SecretBench) -> None:
    cloud.topics.missing.add(TOPIC["name"])
    with pytest.raises(NotFound, match="topics/t"):
        await cloud.create(topics=[TOPIC])
    cloud.topics.missing.clear()
    cloud.guard.denied.add("pubsub.topics.publish")
    with pytest.raises(PermissionDenied):
        await cloud.create(topics=[TOPIC])
    cloud.guard.denied.clear()
    await cloud.create(topics=[TOPIC])
    cloud.guard.denied.add("pubsub.topics.publish")
    await cloud.add()  # is kept, and told to nobody

    assert await cloud.read() == b"value"
    assert len(cloud.topics.published) == 2


async def test_rotation_is_told_at_its_time_and_after_a_stop(cloud: SecretBench) -> None:
    first = int(cloud.clock.now()) + 600
    rotation = {"next_rotation_time": {"seconds": first}, "rotation_period": {"seconds": 3600}}
    await cloud.create(topics=[TOPIC], rotation=rotation)
    del cloud.topics.published[:]
    await cloud.clock.turn(599)
    assert cloud.topics.published == []
    await cloud.clock.turn(1)
    assert (await cloud("GetSecret", name=KEY)).rotation.next_rotation_time.seconds == first + 3600
    await cloud.service.stop()
    await cloud.clock.turn(2 * 3600)
    cloud.service = cloud.make()
    await cloud.service.start()

    kinds = [attributes["eventType"] for _, _, attributes in cloud.topics.published]
    assert kinds == ["SECRET_ROTATE"] * 2
    secret = await cloud("GetSecret", name=KEY)
    assert secret.rotation.next_rotation_time.seconds == first + 3 * 3600
    cloud.topics.problem = sqlite3.OperationalError("database or disk is full")
    await cloud.clock.turn(3600)
    cloud.topics.problem = None
    await cloud.clock.turn(3600)
    assert len(cloud.topics.published) == 4
    await cloud.service.stop()


async def test_parts_of_a_rotation_are_changed_as_gcloud_does(cloud: SecretBench) -> None:
    await cloud.create(topics=[TOPIC])
    first = int(cloud.clock.now()) + 600
    rotation = {"next_rotation_time": {"seconds": first}, "rotation_period": {"seconds": 3600}}
    mask = {"paths": ["rotation.next_rotation_time", "rotation.rotation_period"]}
    changed = {"name": KEY, "rotation": rotation}
    made = await cloud("UpdateSecret", secret=changed, update_mask=mask)
    assert made.rotation.next_rotation_time.seconds == first
    made = await cloud("UpdateSecret", secret={"name": KEY}, update_mask=mask)
    assert not made.HasField("rotation")
