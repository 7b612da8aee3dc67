"""Soft delete: deleted objects that can be listed and restored for a while."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from devenv.gcp.storage import bulk_restore
from devenv.gcp.storage.bulk_restore import BulkRestores
from tests.unit.devenv.gcp.storage.cloud import BUCKET_PATH, OBJECTS, StorageCloud, path, reason

pytestmark = pytest.mark.anyio

DAY = 86_400
WEEK = 7 * DAY


async def keep(cloud: StorageCloud, seconds: object = WEEK) -> dict[str, Any]:
    """Set the duration of the policy, and return the bucket."""
    policy = {"softDeletePolicy": {"retentionDurationSeconds": seconds}}
    answer = await cloud.client.patch(BUCKET_PATH, json=policy)
    found: dict[str, Any] = answer.json()
    return found


async def kept(cloud: StorageCloud, **query: Any) -> list[dict[str, Any]]:
    """Return the soft-deleted objects."""
    answer = await cloud.client.get(OBJECTS, params={"softDeleted": "true", **query})
    found: list[dict[str, Any]] = answer.json().get("items", [])
    return found


async def delete(cloud: StorageCloud, name: str) -> str:
    """Delete an object and return its generation."""
    generation = str((await cloud.get(name)).json()["generation"])
    assert (await cloud.client.delete(path(name))).status_code == 204
    return generation


async def restore(cloud: StorageCloud, name: str, **query: Any) -> Any:
    return await cloud.client.post(f"{path(name)}/restore", params=query)


async def test_deleted_object_is_listed_and_restored(cloud: StorageCloud) -> None:
    await keep(cloud)
    await cloud.put("dir/a", b"first")
    await cloud.client.patch(path("dir/a"), json={"metadata": {"k": "v"}})
    generation = await delete(cloud, "dir/a")

    [found] = await kept(cloud)
    one = await cloud.get("dir/a", softDeleted="true", generation=generation)
    assert (await cloud.get("dir/a")).status_code == 404
    assert (found["generation"], found["softDeleteTime"] < found["hardDeleteTime"]) == (
        generation,
        True,
    )
    assert one.json()["hardDeleteTime"] == found["hardDeleteTime"]
    restored = (await restore(cloud, "dir/a", generation=generation)).json()
    assert restored["metadata"] == {"k": "v"}
    assert int(restored["generation"]) > int(generation)
    assert "softDeleteTime" not in restored
    assert (await cloud.read("dir/a")).content == b"first"
    assert [item["generation"] for item in await kept(cloud)] == [generation]


async def test_overwritten_object_is_kept(cloud: StorageCloud) -> None:
    await keep(cloud)
    await cloud.put("a", b"first")
    generation = (await cloud.get("a")).json()["generation"]
    await cloud.put("a", b"second")
    before = cloud.blobs()
    refused = await restore(cloud, "a", generation=generation, ifGenerationMatch=0)
    assert (refused.status_code, cloud.blobs()) == (412, before)
    await restore(cloud, "a", generation=generation)

    assert (await cloud.read("a")).content == b"first"
    assert len(await kept(cloud)) == 2


async def test_version_is_soft_deleted_when_it_is_removed(cloud: StorageCloud) -> None:
    await keep(cloud)
    await cloud.client.patch(BUCKET_PATH, json={"versioning": {"enabled": True}})
    await cloud.put("a")
    generation = await delete(cloud, "a")
    assert await kept(cloud) == []
    await cloud.client.delete(path("a"), params={"generation": generation})

    assert [item["generation"] for item in await kept(cloud)] == [generation]


async def test_kept_object_ends_after_the_duration_of_its_deletion(cloud: StorageCloud) -> None:
    await keep(cloud)
    await cloud.put("a")
    generation = await delete(cloud, "a")
    await keep(cloud, 90 * DAY)
    await cloud.clock.turn(WEEK)

    assert await kept(cloud) == []
    assert (await restore(cloud, "a", generation=generation)).status_code == 404
    assert cloud.blobs() == 0


async def test_kept_object_survives_a_restart(cloud: StorageCloud) -> None:
    await keep(cloud)
    await cloud.put("a", b"first")
    generation = await delete(cloud, "a")
    await cloud.restart()

    assert (await restore(cloud, "a", generation=generation)).status_code == 200
    assert (await cloud.read("a")).content == b"first"


async def test_deleted_object_is_gone_without_a_policy(cloud: StorageCloud) -> None:
    await keep(cloud)
    bucket = await keep(cloud, 0)
    await cloud.put("a")
    await delete(cloud, "a")

    assert bucket["softDeletePolicy"]["retentionDurationSeconds"] == "0"
    assert (await kept(cloud), cloud.blobs()) == ([], 0)


async def test_deleted_bucket_takes_its_kept_objects_along(cloud: StorageCloud) -> None:
    await keep(cloud)
    await cloud.put("a")
    await delete(cloud, "a")

    assert (await cloud.client.delete(BUCKET_PATH)).status_code == 204
    assert cloud.blobs() == 0


async def test_kept_objects_are_listed_by_prefix_and_pages(cloud: StorageCloud) -> None:
    await keep(cloud)
    for name in ("a", "dir/b", "dir/c"):
        await cloud.put(name)
        await delete(cloud, name)
    query = {"softDeleted": "true", "maxResults": "1", "prefix": "dir/"}
    first = (await cloud.client.get(OBJECTS, params=query)).json()
    token = {"pageToken": first["nextPageToken"]}
    second = (await cloud.client.get(OBJECTS, params=query | token)).json()

    assert [page["items"][0]["name"] for page in (first, second)] == ["dir/b", "dir/c"]
    assert "nextPageToken" not in second


@pytest.mark.parametrize("seconds", [1, WEEK - 1, 90 * DAY + 1, -1, "x"])
async def test_wrong_duration_is_refused(cloud: StorageCloud, seconds: object) -> None:
    policy = {"softDeletePolicy": {"retentionDurationSeconds": seconds}}
    refused = await cloud.client.patch(BUCKET_PATH, json=policy)

    assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_policy_keeps_its_effective_time_until_it_changes(cloud: StorageCloud) -> None:
    first = (await keep(cloud))["softDeletePolicy"]
    await cloud.clock.turn(60)
    same = (await keep(cloud))["softDeletePolicy"]
    changed = (await keep(cloud, 2 * WEEK))["softDeletePolicy"]

    assert same == first
    assert changed["effectiveTime"] > first["effectiveTime"]


async def test_wrong_restore_is_refused(cloud: StorageCloud) -> None:
    await keep(cloud)
    await cloud.put("a")
    generation = await delete(cloud, "a")

    assert (await restore(cloud, "a")).status_code == 400
    assert (await restore(cloud, "a", generation=1)).status_code == 404
    listed = await cloud.client.get(OBJECTS, params={"softDeleted": "true", "versions": "true"})
    assert listed.status_code == 400
    cloud.guard.denied.add("storage.objects.restore")
    assert (await restore(cloud, "a", generation=generation)).status_code == 403
    one = await cloud.get("a", softDeleted="true", generation=generation)
    assert one.status_code == 403


async def restore_many(cloud: StorageCloud, **body: Any) -> dict[str, Any]:
    """Restore objects of the bucket, and return the finished operation."""
    begun = (await cloud.client.post(f"{OBJECTS}/bulkRestore", json=body)).json()
    assert (begun["kind"], begun["done"]) == ("storage#operation", False), begun
    for _ in range(100):
        found: dict[str, Any] = (await cloud.client.get(begun["selfLink"])).json()
        if found["done"]:
            return found
        await asyncio.sleep(0)
    raise AssertionError(found)


async def test_objects_of_globs_are_restored_in_their_newest_version(cloud: StorageCloud) -> None:
    await keep(cloud)
    for number, name in enumerate(("a/1", "a/1", "a/2", "b/1")):
        await cloud.put(name, str(number).encode())
    for name in ("a/1", "a/2", "b/1"):
        await delete(cloud, name)
    await cloud.put("a/2", b"live")

    operation = await restore_many(cloud, matchGlobs=["a/*"])

    counts = {key: operation["metadata"][f"{key}Count"] for key in ("succeeded", "skipped")}
    assert counts == {"succeeded": "1", "skipped": "1"}
    assert ((await cloud.read("a/1")).content, (await cloud.read("a/2")).content) == (
        b"1",
        b"live",
    )
    assert (await cloud.get("b/1")).status_code == 404
    await restore_many(cloud, matchGlobs=["a/2"], allowOverwrite=True)
    assert (await cloud.read("a/2")).content != b"live"
    listed = (await cloud.client.get(f"{BUCKET_PATH}/operations?pageSize=1")).json()
    assert (len(listed["operations"]), "nextPageToken" in listed) == (1, True)


async def test_objects_are_restored_by_the_time_of_their_deletion(cloud: StorageCloud) -> None:
    await keep(cloud)
    for name in "abc":
        await cloud.put(name)
        await delete(cloud, name)
        await cloud.clock.turn(DAY)
    times = [item["softDeleteTime"] for item in await kept(cloud)]

    await restore_many(cloud, softDeletedAfterTime=times[0], softDeletedBeforeTime=times[2])

    assert [(await cloud.get(name)).status_code for name in "abc"] == [404, 200, 404]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"matchGlobs": "a"}, "matchGlobs must be a list"),
        ({"allowOverwrite": 1}, "must be true or false"),
        ({"softDeletedAfterTime": "2027-01-31"}, "softDeletedAfterTime"),
        ({"x": 1}, "The field 'x'"),
    ],
)
async def test_wrong_bulk_restore_is_refused(
    cloud: StorageCloud, body: dict[str, Any], text: str
) -> None:
    refused = await cloud.client.post(f"{OBJECTS}/bulkRestore", json=body)
    assert (refused.status_code, reason(refused)) == (400, "invalid")
    assert text in refused.text


async def test_stopped_or_cancelled_operation_ends_with_an_error(
    cloud: StorageCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(BulkRestores, "_run", wait)
    begun = [(await cloud.client.post(f"{OBJECTS}/bulkRestore", json={})).json() for _ in "ab"]
    cancelled = await cloud.client.post(f"{begun[0]['selfLink']}/cancel")
    await cloud.service.stop()
    await cloud.restart()

    ended = [(await cloud.client.get(each["selfLink"])).json() for each in begun]
    assert cancelled.status_code == 204
    assert [(each["done"], each["error"]["code"]) for each in ended] == [(True, 1), (True, 10)]
    assert (await cloud.client.get(f"{BUCKET_PATH}/operations/x")).status_code == 404


async def test_operation_that_is_done_is_not_cancelled(
    cloud: StorageCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def finish_and_wait(restores: Any, operation: Any, *_: object) -> None:
        restores._save(replace(operation, done=True))
        await asyncio.Event().wait()

    monkeypatch.setattr(BulkRestores, "_run", finish_and_wait)
    begun = (await cloud.client.post(f"{OBJECTS}/bulkRestore", json={})).json()
    await asyncio.sleep(0)
    assert (await cloud.client.post(f"{begun['selfLink']}/cancel")).status_code == 204

    found = (await cloud.client.get(begun["selfLink"])).json()
    assert (found["done"], "error" in found) == (True, False)


async def test_oldest_operations_are_forgotten(
    cloud: StorageCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_restore, "_MOST_KEPT", 2)
    await keep(cloud)
    names = []
    for _ in range(3):
        names.append((await restore_many(cloud))["name"])
        await cloud.clock.turn(1)

    listed = (await cloud.client.get(f"{BUCKET_PATH}/operations")).json()["operations"]
    assert sorted(each["name"] for each in listed) == sorted(names[1:])
