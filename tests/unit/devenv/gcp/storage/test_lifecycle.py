"""Lifecycle rules: what they do when their time has come, and what is refused."""

from typing import Any

import pytest

from tests.unit.devenv.gcp.storage.cloud import BUCKET_PATH, OBJECTS, StorageCloud, path

pytestmark = pytest.mark.anyio
DAY = 86_400
HOUR = 3600


async def rule(cloud: StorageCloud, action: str = "Delete", **condition: Any) -> None:
    """Give the bucket one rule; an action with `:` names a storage class."""
    kind, _, storage_class = action.partition(":")
    chosen = {"type": kind, **({"storageClass": storage_class} if storage_class else {})}
    rules = [{"action": chosen, "condition": condition}]
    answer = await cloud.client.patch(BUCKET_PATH, json={"lifecycle": {"rule": rules}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["lifecycle"]["rule"] == rules


async def names(cloud: StorageCloud, **query: str) -> list[str]:
    listed = (await cloud.client.get(OBJECTS, params=query)).json().get("items", [])
    return [item["name"] for item in listed]


async def test_object_is_deleted_with_its_bytes_at_its_age(cloud: StorageCloud) -> None:
    await rule(cloud, age=2)
    await cloud.put("a")

    await cloud.clock.turn(2 * DAY - HOUR)
    assert await names(cloud) == ["a"]

    await cloud.clock.turn(2 * HOUR)
    assert await names(cloud) == []
    assert cloud.blobs() == 0


@pytest.mark.parametrize(
    "condition",
    [
        {"createdBefore": "2027-01-16"},
        {"customTimeBefore": "2020-01-02"},
        {"daysSinceCustomTime": 30},
        {"isLive": True},
        {"matchesPrefix": ["x", "lo"]},
        {"matchesSuffix": [".log"]},
        {"matchesStorageClass": ["STANDARD"]},
        {"numNewerVersions": 0},
    ],
)
async def test_condition_that_holds_deletes(cloud: StorageCloud, condition: dict[str, Any]) -> None:
    await cloud.put("logs/a.log")
    await cloud.client.patch(path("logs/a.log"), json={"customTime": "2020-01-01T00:00:00Z"})
    await rule(cloud, **condition)

    await cloud.clock.turn(HOUR)

    assert await names(cloud) == []


@pytest.mark.parametrize(
    "condition",
    [
        {"createdBefore": "2027-01-15"},
        {"customTimeBefore": "2020-01-02"},
        {"daysSinceCustomTime": 0},
        {"daysSinceNoncurrentTime": 0},
        {"isLive": False},
        {"matchesPrefix": ["ogs"], "age": 0},
        {"matchesSuffix": [".txt"]},
        {"matchesStorageClass": ["NEARLINE"]},
        {"noncurrentTimeBefore": "2030-01-01"},
        {"numNewerVersions": 1},
    ],
)
async def test_condition_that_does_not_hold_keeps(
    cloud: StorageCloud, condition: dict[str, Any]
) -> None:
    await cloud.put("logs/a.log")
    await rule(cloud, **condition)

    await cloud.clock.turn(HOUR)

    assert await names(cloud) == ["logs/a.log"]


async def test_versions_go_by_number_and_age(cloud: StorageCloud) -> None:
    await cloud.client.patch(BUCKET_PATH, json={"versioning": {"enabled": True}})
    for _ in range(4):
        await cloud.put("a")
    await rule(cloud, numNewerVersions=2)
    await cloud.clock.turn(HOUR)
    assert await names(cloud, versions="true") == ["a", "a"]

    await rule(cloud, daysSinceNoncurrentTime=7)
    await cloud.clock.turn(7 * DAY)
    assert await names(cloud, versions="true") == ["a"]

    await rule(cloud, age=0, isLive=True)
    await cloud.clock.turn(HOUR)
    assert (await names(cloud), await names(cloud, versions="true")) == ([], ["a"])


async def test_class_becomes_the_coldest_and_never_warmer(cloud: StorageCloud) -> None:
    await cloud.put("a")
    classes = [("COLDLINE", 1), ("NEARLINE", 0)]
    rules = [
        {"action": {"type": "SetStorageClass", "storageClass": each}, "condition": {"age": age}}
        for each, age in classes
    ]
    await cloud.client.patch(BUCKET_PATH, json={"lifecycle": {"rule": rules}})
    seen = []
    for _ in range(3):
        await cloud.clock.turn(DAY / 2 + HOUR)
        item = (await cloud.get("a")).json()
        seen.append((item["storageClass"], item["metageneration"]))

    assert seen == [("NEARLINE", "2"), ("COLDLINE", "3"), ("COLDLINE", "3")]
    assert item["timeStorageClassUpdated"] > item["timeCreated"]


async def test_held_object_waits_for_its_release(cloud: StorageCloud) -> None:
    await cloud.put("a")
    await cloud.client.patch(path("a"), json={"temporaryHold": True})
    await rule(cloud, age=0)
    await cloud.clock.turn(HOUR)
    assert await names(cloud) == ["a"]

    await cloud.client.patch(path("a"), json={"temporaryHold": False})
    await cloud.clock.turn(HOUR)
    assert await names(cloud) == []


async def test_unfinished_upload_in_parts_is_ended_with_its_bytes(cloud: StorageCloud) -> None:
    await rule(cloud, "AbortIncompleteMultipartUpload", age=1, matchesPrefix=["par"])
    url = "http://storage.googleapis.com/local-project/parts"
    begun = await cloud.client.post(f"{url}?uploads")
    upload = begun.text.partition("<UploadId>")[2].partition("<")[0]
    part = {"uploadId": upload, "partNumber": "1"}
    assert (await cloud.client.put(url, params=part, content=b"x")).status_code == 200

    await cloud.clock.turn(DAY + HOUR)

    assert (await cloud.client.put(url, params=part, content=b"x")).status_code == 404
    assert cloud.blobs() == 0


async def test_rules_are_removed_by_an_empty_list(cloud: StorageCloud) -> None:
    await rule(cloud, age=0)
    bucket = await cloud.client.patch(BUCKET_PATH, json={"lifecycle": {"rule": []}})
    await cloud.put("a")

    await cloud.clock.turn(DAY)

    assert "lifecycle" not in bucket.json()
    assert await names(cloud) == ["a"]


@pytest.mark.parametrize(
    ("lifecycle", "text"),
    [
        ([], "lifecycle must be an object"),
        ({"rule": {}}, None),
        ({"rule": "x"}, "lifecycle.rule must be a list"),
        ({"rule": [None]}, "lifecycle.rule[0] must be an object"),
        ({"rule": [{"action": {"type": "Delete"}}]}, "condition must be an object"),
        ({"rule": [{"action": {"type": "Delete"}, "condition": {}}]}, "condition is empty"),
        ({"rule": [{"action": {"type": "Burn"}, "condition": {"age": 1}}]}, "'Burn'; it must be"),
        ({"rule": [{"action": {"type": "Delete"}, "condition": {"size": 1}}]}, "condition.size"),
        ({"rule": [{"action": {"type": "Delete"}, "condition": {"age": -1}}]}, "condition.age"),
        ({"rule": [{"action": {"type": "Delete"}, "condition": {"isLive": 1}}]}, "true or false"),
        (
            {"rule": [{"action": {"type": "Delete"}, "condition": {"createdBefore": "soon"}}]},
            "createdBefore is 'soon'; it must be a date",
        ),
        (
            {"rule": [{"action": {"type": "Delete"}, "condition": {"matchesPrefix": "a"}}]},
            "matchesPrefix must be a list",
        ),
        (
            {"rule": [{"action": {"type": "SetStorageClass"}, "condition": {"age": 1}}]},
            "storageClass is 'None'; it must be one of NEARLINE",
        ),
        (
            {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 1}}] * 101},
            "at most 100",
        ),
    ],
)
async def test_wrong_rule_is_refused_by_name(
    cloud: StorageCloud, lifecycle: Any, text: str | None
) -> None:
    answer = await cloud.client.patch(BUCKET_PATH, json={"lifecycle": lifecycle})

    assert answer.status_code == (400 if text else 200)
    assert (text or "") in answer.text
