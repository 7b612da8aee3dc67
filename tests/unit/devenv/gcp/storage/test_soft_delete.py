"""Soft delete: deleted objects that can be listed and restored for a while."""

from typing import Any

import pytest

from tests.unit.devenv.gcp.storage.cloud import BUCKET_PATH, OBJECTS, Cloud, path, reason

pytestmark = pytest.mark.anyio

DAY = 86_400
WEEK = 7 * DAY


async def keep(cloud: Cloud, seconds: object = WEEK) -> dict[str, Any]:
    """Set the duration of the policy, and return the bucket."""
    policy = {"softDeletePolicy": {"retentionDurationSeconds": seconds}}
    answer = await cloud.client.patch(BUCKET_PATH, json=policy)
    found: dict[str, Any] = answer.json()
    return found


async def kept(cloud: Cloud, **query: Any) -> list[dict[str, Any]]:
    """Return the soft-deleted objects."""
    answer = await cloud.client.get(OBJECTS, params={"softDeleted": "true", **query})
    found: list[dict[str, Any]] = answer.json().get("items", [])
    return found


async def delete(cloud: Cloud, name: str) -> str:
    """Delete an object and return its generation."""
    generation = str((await cloud.get(name)).json()["generation"])
    assert (await cloud.client.delete(path(name))).status_code == 204
    return generation


async def restore(cloud: Cloud, name: str, **query: Any) -> Any:
    return await cloud.client.post(f"{path(name)}/restore", params=query)


async def test_deleted_object_is_listed_and_restored(cloud: Cloud) -> None:
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


async def test_overwritten_object_is_kept(cloud: Cloud) -> None:
    await keep(cloud)
    await cloud.put("a", b"first")
    generation = (await cloud.get("a")).json()["generation"]
    await cloud.put("a", b"second")
    before = cloud.files()
    refused = await restore(cloud, "a", generation=generation, ifGenerationMatch=0)
    assert (refused.status_code, cloud.files()) == (412, before)
    await restore(cloud, "a", generation=generation)

    assert (await cloud.read("a")).content == b"first"
    assert len(await kept(cloud)) == 2


async def test_version_is_soft_deleted_when_it_is_removed(cloud: Cloud) -> None:
    await keep(cloud)
    await cloud.client.patch(BUCKET_PATH, json={"versioning": {"enabled": True}})
    await cloud.put("a")
    generation = await delete(cloud, "a")
    assert await kept(cloud) == []
    await cloud.client.delete(path("a"), params={"generation": generation})

    assert [item["generation"] for item in await kept(cloud)] == [generation]


async def test_kept_object_ends_after_the_duration_of_its_deletion(cloud: Cloud) -> None:
    await keep(cloud)
    await cloud.put("a")
    generation = await delete(cloud, "a")
    await keep(cloud, 90 * DAY)
    await cloud.clock.turn(WEEK)

    assert await kept(cloud) == []
    assert (await restore(cloud, "a", generation=generation)).status_code == 404
    assert cloud.files() == 0


async def test_kept_object_survives_a_restart(cloud: Cloud) -> None:
    await keep(cloud)
    await cloud.put("a", b"first")
    generation = await delete(cloud, "a")
    await cloud.restart()

    assert (await restore(cloud, "a", generation=generation)).status_code == 200
    assert (await cloud.read("a")).content == b"first"


async def test_deleted_object_is_gone_without_a_policy(cloud: Cloud) -> None:
    await keep(cloud)
    bucket = await keep(cloud, 0)
    await cloud.put("a")
    await delete(cloud, "a")

    assert bucket["softDeletePolicy"]["retentionDurationSeconds"] == "0"
    assert (await kept(cloud), cloud.files()) == ([], 0)


async def test_deleted_bucket_takes_its_kept_objects_along(cloud: Cloud) -> None:
    await keep(cloud)
    await cloud.put("a")
    await delete(cloud, "a")

    assert (await cloud.client.delete(BUCKET_PATH)).status_code == 204
    assert cloud.files() == 0


async def test_kept_objects_are_listed_by_prefix_and_pages(cloud: Cloud) -> None:
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
async def test_wrong_duration_is_refused(cloud: Cloud, seconds: object) -> None:
    policy = {"softDeletePolicy": {"retentionDurationSeconds": seconds}}
    refused = await cloud.client.patch(BUCKET_PATH, json=policy)

    assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_policy_keeps_its_effective_time_until_it_changes(cloud: Cloud) -> None:
    first = (await keep(cloud))["softDeletePolicy"]
    await cloud.clock.turn(60)
    same = (await keep(cloud))["softDeletePolicy"]
    changed = (await keep(cloud, 2 * WEEK))["softDeletePolicy"]

    assert same == first
    assert changed["effectiveTime"] > first["effectiveTime"]


async def test_wrong_restore_is_refused(cloud: Cloud) -> None:
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
