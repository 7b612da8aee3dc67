"""Settings of buckets and objects: each one acts, or is refused by name."""

from typing import Any

import httpx
import pytest

from tests.unit.devenv.gcp.storage.cloud import (
    BUCKET,
    BUCKET_PATH,
    BUCKETS,
    OBJECTS,
    UPLOAD,
    StorageCloud,
    path,
    reason,
)

pytestmark = pytest.mark.anyio

DAY = 24 * 3600


def message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


async def change(cloud: StorageCloud, **fields: Any) -> dict[str, Any]:
    """Patch the bucket and return it."""
    answer = await cloud.client.patch(BUCKET_PATH, json=fields)
    assert answer.status_code == 200, answer.text
    bucket: dict[str, Any] = answer.json()
    return bucket


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("autoclass", {"enabled": True}),
        ("billing", {"requesterPays": True}),
        ("customPlacementConfig", {"dataLocations": ["US-EAST1", "US-WEST1"]}),
        ("encryption", {"defaultKmsKeyName": "projects/p/key"}),
        ("hierarchicalNamespace", {"enabled": True}),
        ("ipFilter", {"mode": "Enabled"}),
        ("logging", {"logBucket": "logs"}),
        ("objectRetention", {"mode": "Enabled"}),
        ("retention_policy", {"retentionPeriod": "1"}),
        ("website", {"mainPageSuffix": "index.html"}),
    ],
)
async def test_unsupported_bucket_field_is_refused_by_name(
    cloud: StorageCloud, field: str, value: Any
) -> None:
    for method, url in (("PATCH", BUCKET_PATH), ("PUT", BUCKET_PATH), ("POST", BUCKETS)):
        body = {"name": "other", field: value}
        refused = await cloud.client.request(method, url, json=body)

        assert (refused.status_code, reason(refused)) == (400, "invalid")
        assert field.partition("Config")[0] in message(refused) or "uniform" in message(refused)
        assert "not emulated" in message(refused)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", {"A": "b"}),
        ("location", "MARS"),
        ("storageClass", "COOL"),
        ("rpo", "ASYNC_TURBO"),
        ("versioning", {"enabled": "yes"}),
        ("iamConfiguration", {"publicAccessPrevention": "maybe"}),
        ("retentionPolicy", {"retentionPeriod": "3155760001"}),
        ("retentionPolicy", {"retentionPeriod": "x"}),
        ("cors", {"origin": "*"}),
        ("cors", [{"origin": "*"}]),
        ("cors", [{"origins": ["*"]}]),
        ("defaultEventBasedHold", 1),
    ],
)
async def test_invalid_bucket_field_is_refused(cloud: StorageCloud, field: str, value: Any) -> None:
    refused = await cloud.client.patch(BUCKET_PATH, json={field: value})

    assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_bucket_can_be_put_as_it_was_read(cloud: StorageCloud) -> None:
    before = await change(cloud, labels={"a": "1"}, versioning={"enabled": True})
    answer = await cloud.client.put(BUCKET_PATH, json=before)

    assert answer.json()["labels"] == {"a": "1"}
    assert answer.json()["versioning"] == {"enabled": True}


async def test_bucket_put_replaces_all_settings(cloud: StorageCloud) -> None:
    await change(cloud, labels={"a": "1"}, versioning={"enabled": True})
    answer = await cloud.client.put(BUCKET_PATH, json={"labels": {"b": "2"}})

    assert answer.json()["labels"] == {"b": "2"}
    assert "versioning" not in answer.json()


async def test_bucket_patch_merges_nested_settings(cloud: StorageCloud) -> None:
    await change(cloud, labels={"a": "1", "b": "2"})
    bucket = await change(cloud, labels={"a": None, "c": "3"}, storageClass=None)

    assert bucket["labels"] == {"b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("location", "kind", "rpo"),
    [
        ("us", "multi-region", "DEFAULT"),
        ("nam4", "dual-region", "DEFAULT"),
        ("us-west1", "region", None),
    ],
)
async def test_location_decides_location_type_and_rpo(
    cloud: StorageCloud, location: str, kind: str, rpo: str | None
) -> None:
    body = {"name": "other", "location": location}
    made = (await cloud.client.post(BUCKETS, json=body)).json()
    layout = (await cloud.client.get("/storage/v1/b/other/storageLayout")).json()

    assert (made["location"], made["locationType"]) == (location.upper(), kind)
    assert made.get("rpo") == rpo
    assert (layout["location"], layout["locationType"]) == (location.upper(), kind)
    assert layout["hierarchicalNamespace"] == {"enabled": False}


async def test_location_of_a_bucket_cannot_be_changed(cloud: StorageCloud) -> None:
    await cloud.client.post(BUCKETS, json={"name": "other", "location": "US"})
    refused = await cloud.client.patch("/storage/v1/b/other", json={"location": "EU"})
    kept = await cloud.client.put("/storage/v1/b/other", json={})

    assert refused.status_code == 400
    assert kept.json()["location"] == "US"


async def test_bucket_shows_soft_delete_as_switched_off(cloud: StorageCloud) -> None:
    bucket = await change(cloud, softDeletePolicy={"retentionDurationSeconds": "0"})

    assert bucket["softDeletePolicy"]["retentionDurationSeconds"] == "0"
    assert bucket["softDeletePolicy"]["effectiveTime"] == bucket["timeCreated"]


async def test_objects_get_the_default_storage_class(cloud: StorageCloud) -> None:
    await change(cloud, storageClass="NEARLINE")
    await cloud.put("a")

    assert (await cloud.get("a")).json()["storageClass"] == "NEARLINE"


async def test_storage_class_changes_by_rewrite_only(cloud: StorageCloud) -> None:
    await cloud.put("a")
    refused = await cloud.client.patch(path("a"), json={"storageClass": "COLDLINE"})
    body = {"storageClass": "COLDLINE"}
    await cloud.client.post(f"{path('a')}/rewriteTo/b/{BUCKET}/o/a", json=body)

    assert refused.status_code == 400
    assert (await cloud.get("a")).json()["storageClass"] == "COLDLINE"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contexts", {"custom": {"a": {"value": "b"}}}),
        ("kmsKeyName", "projects/p/key"),
        ("retention", {"mode": "Locked", "retainUntilTime": "2030-01-01T00:00:00Z"}),
        ("temporary_hold", True),
    ],
)
async def test_unsupported_object_field_is_refused_by_name(
    cloud: StorageCloud, field: str, value: Any
) -> None:
    await cloud.put("a")
    requests = (
        ("PATCH", path("a")),
        ("PUT", path("a")),
        ("POST", f"{path('a')}/copyTo/b/{BUCKET}/o/b"),
        ("POST", f"{UPLOAD}?uploadType=resumable&name=b"),
    )
    for method, url in requests:
        refused = await cloud.client.request(method, url, json={field: value})

        assert (refused.status_code, reason(refused)) == (400, "invalid")
        assert f"'{field}' is not emulated" in message(refused)


@pytest.mark.parametrize(
    "query",
    [
        "kmsKeyName=projects/p/key",
        "rewriteToken=x",
    ],
)
async def test_unsupported_parameter_is_refused_by_name(cloud: StorageCloud, query: str) -> None:
    refused = await cloud.client.post(f"{UPLOAD}?uploadType=media&name=a&{query}")

    assert (refused.status_code, reason(refused)) == (400, "invalid")
    assert query.partition("=")[0] in message(refused)


@pytest.mark.parametrize(
    ("method", "resource"),
    [
        ("POST", f"{BUCKET_PATH}/folders"),
        ("POST", f"{OBJECTS}/watch"),
    ],
)
async def test_unsupported_resource_is_refused_by_name(
    cloud: StorageCloud, method: str, resource: str
) -> None:
    refused = await cloud.client.request(method, resource)

    assert (refused.status_code, reason(refused)) == (400, "invalid")
    assert f"{resource} is not emulated" in message(refused)


@pytest.mark.parametrize(
    "body",
    [
        {"sourceObjects": [{"name": "a"}], "deleteSourceObjects": True},
        {"sourceObjects": [{"name": "a", "objectPreconditions": {"ifMetagenerationMatch": 1}}]},
        {"sourceObjects": [{"name": "a"}], "destination": {"temporaryHolds": True}},
    ],
)
async def test_unsupported_member_of_compose_is_refused(
    cloud: StorageCloud, body: dict[str, Any]
) -> None:
    await cloud.put("a")
    refused = await cloud.client.post(f"{path('b')}/compose", json=body)

    assert refused.status_code == 400
    assert "is not emulated" in message(refused)


@pytest.mark.parametrize("hold", ["temporaryHold", "eventBasedHold"])
async def test_hold_protects_an_object(cloud: StorageCloud, hold: str) -> None:
    await change(cloud, versioning={"enabled": True})
    await cloud.put("a")
    await cloud.client.patch(path("a"), json={hold: True})
    attempts = [
        await cloud.client.delete(path("a")),
        await cloud.put("a", b"new"),
        await cloud.client.post(f"{path('a')}/moveTo/o/b"),
        await cloud.client.post(f"{path('a')}/compose", json={"sourceObjects": [{"name": "a"}]}),
    ]
    changed = await cloud.client.patch(path("a"), json={"metadata": {"k": "v"}})
    await cloud.client.patch(path("a"), json={hold: False})

    assert [answer.status_code for answer in attempts] == [403] * 4
    assert "cannot be deleted, overwritten or archived until hold is removed" in message(
        attempts[0]
    )
    assert changed.status_code == 200
    assert (await cloud.client.delete(path("a"))).status_code == 204


async def test_default_event_based_hold_applies_to_new_objects(cloud: StorageCloud) -> None:
    await cloud.put("old")
    await change(cloud, defaultEventBasedHold=True)
    await cloud.put("new")

    assert (await cloud.client.delete(path("old"))).status_code == 204
    assert (await cloud.client.delete(path("new"))).status_code == 403
    assert (await cloud.get("new")).json()["eventBasedHold"] is True


async def test_retention_policy_protects_objects_until_it_expires(cloud: StorageCloud) -> None:
    await cloud.put("a")
    bucket = await change(cloud, retentionPolicy={"retentionPeriod": str(DAY)})
    shown = (await cloud.get("a")).json()
    early = await cloud.client.delete(path("a"))
    await cloud.clock.turn(DAY)

    assert set(bucket["retentionPolicy"]) == {"retentionPeriod", "effectiveTime"}
    assert shown["retentionExpirationTime"] > shown["timeCreated"]
    assert early.status_code == 403
    assert "is subject to bucket's retention policy" in message(early)
    assert early.json()["error"]["errors"][0]["reason"] == "retentionPolicyNotMet"
    assert (await cloud.client.delete(path("a"))).status_code == 204


async def test_retention_counts_from_the_release_of_an_event_based_hold(
    cloud: StorageCloud,
) -> None:
    await change(cloud, defaultEventBasedHold=True, retentionPolicy={"retentionPeriod": DAY})
    await cloud.put("a")
    held = (await cloud.get("a")).json()
    await cloud.clock.turn(2 * DAY)
    await cloud.client.patch(path("a"), json={"eventBasedHold": False})
    early = await cloud.client.delete(path("a"))
    await cloud.clock.turn(DAY)

    assert "retentionExpirationTime" not in held
    assert early.status_code == 403
    assert (await cloud.client.delete(path("a"))).status_code == 204


async def test_locked_retention_policy_can_only_be_extended(cloud: StorageCloud) -> None:
    bucket = await change(cloud, retentionPolicy={"retentionPeriod": DAY})
    lock = f"{BUCKET_PATH}/lockRetentionPolicy"
    assert (await cloud.client.post(lock)).status_code == 400
    stale = await cloud.client.post(lock, params={"ifMetagenerationMatch": 1})
    query = {"ifMetagenerationMatch": bucket["metageneration"]}
    locked = await cloud.client.post(lock, params=query)

    assert stale.status_code == 412
    assert locked.json()["retentionPolicy"]["isLocked"] is True
    for policy in (None, {"retentionPeriod": DAY - 1}):
        refused = await cloud.client.patch(BUCKET_PATH, json={"retentionPolicy": policy})
        assert refused.status_code == 403
        assert "Cannot reduce retention duration of a locked" in message(refused)
    assert (await cloud.client.put(BUCKET_PATH, json={})).status_code == 403
    longer = await change(cloud, retentionPolicy={"retentionPeriod": DAY + 1})
    assert longer["retentionPolicy"]["isLocked"] is True


async def test_custom_time_only_moves_forward(cloud: StorageCloud) -> None:
    await cloud.put("a")
    await cloud.client.patch(path("a"), json={"customTime": "2026-01-02T03:04:05+01:00"})
    earlier = {"customTime": "2026-01-01T00:00:00Z"}

    assert (await cloud.get("a")).json()["customTime"] == "2026-01-02T02:04:05.000Z"
    for patch in (earlier, {"customTime": None}, {"customTime": "soon"}):
        assert (await cloud.client.patch(path("a"), json=patch)).status_code == 400


async def test_service_account_of_the_project_is_shown(cloud: StorageCloud) -> None:
    url = "/storage/v1/projects/local-project/serviceAccount"
    answer = (await cloud.client.get(url)).json()

    assert answer["email_address"].endswith("@gs-project-accounts.iam.gserviceaccount.com")
    assert (await cloud.client.get(url.replace("local-project", "x"))).status_code == 404


async def test_bucket_removed_from_devenv_toml_is_deleted_once_empty(cloud: StorageCloud) -> None:
    await cloud.client.post(BUCKETS, json={"name": "own"})
    await cloud.put("a")
    cloud.buckets = ()
    await cloud.restart()
    assert (await cloud.read("a")).status_code == 200

    await cloud.client.delete(path("a"))
    await cloud.restart()

    names = [bucket["name"] for bucket in (await cloud.client.get(BUCKETS)).json()["items"]]
    assert names == ["own"]


@pytest.mark.parametrize(
    ("method", "url", "text"),
    [
        ("POST", f"{UPLOAD}?uploadType=media&name=a&predefinedAcl=publicRead", "insert"),
        ("GET", f"{BUCKET_PATH}/acl", "get legacy ACL for a bucket"),
        ("DELETE", f"{BUCKET_PATH}/defaultObjectAcl/allUsers", "update legacy ACL for a bucket"),
        ("GET", f"{OBJECTS}/a%2Fb/acl/allUsers", "get legacy ACL for an object"),
        ("DELETE", f"{OBJECTS}/a/acl/allUsers", "update legacy ACL for an object"),
    ],
)
async def test_acl_is_refused_because_of_uniform_access(
    cloud: StorageCloud, method: str, url: str, text: str
) -> None:
    refused = await cloud.client.request(method, url, json={})

    assert (refused.status_code, reason(refused)) == (400, "invalid")
    assert f"Cannot {text}" in message(refused)
    assert "when uniform bucket-level access is enabled" in message(refused)


async def test_bucket_created_with_a_list_has_no_uniform_access(cloud: StorageCloud) -> None:
    plain = (await cloud.client.post(BUCKETS, json={"name": "plain"})).json()
    lists = "&predefinedAcl=projectPrivate&predefinedDefaultObjectAcl=bucketOwnerFullControl"
    made = (await cloud.client.post(BUCKETS + lists, json={"name": "with-list"})).json()
    uniform = {"uniformBucketLevelAccess": {"enabled": True}}
    both = {"name": "both", "iamConfiguration": uniform}
    refused = await cloud.client.post(BUCKETS + lists, json=both)

    enabled = [
        each["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] for each in (plain, made)
    ]
    assert (enabled, refused.status_code) == ([True, False], 400)


async def test_acl_of_the_xml_api_is_refused_because_of_uniform_access(cloud: StorageCloud) -> None:
    headers = {"x-goog-acl": "public-read"}
    put = await cloud.client.put(f"/{BUCKET}/a", content=b"x", headers=headers)
    get = await cloud.client.get(f"/{BUCKET}/a?acl")

    assert (put.status_code, get.status_code) == (400, 400)
    assert "<Message>Cannot insert legacy ACL for an object" in put.text
    assert "<Message>Cannot get legacy ACL for an object" in get.text
    assert cloud.blobs() == 0
