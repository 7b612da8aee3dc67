"""Access to Cloud Storage: tokens, permissions, boundaries."""

import pytest

from tests.unit.devenv.gcp.storage.cloud import (
    BUCKET,
    BUCKET_PATH,
    BUCKETS,
    OBJECTS,
    UPLOAD,
    Cloud,
    path,
    reason,
)

pytestmark = pytest.mark.anyio

NAME = f"projects/_/buckets/{BUCKET}/objects/runs/1/"
ONLY_RUN_1 = (
    f"resource.name.startsWith('{NAME}') || "
    "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('runs/1/')"
)


async def test_missing_token_returns_401_naming_permission(cloud: Cloud) -> None:
    refused = await cloud.without_token("GET", path("a"))
    assert (refused.status_code, reason(refused)) == (401, "authError")
    assert refused.headers["www-authenticate"].startswith("Bearer realm=")
    assert refused.json()["error"]["message"] == (
        "Anonymous caller does not have storage.objects.get access to the Google Cloud Storage "
        "object. Permission 'storage.objects.get' denied on resource (or it may not exist)."
    )


async def test_wrong_token_returns_401_even_for_upload_session(cloud: Cloud) -> None:
    session = await cloud.begin("a")
    wrong = {"authorization": "Bearer wrong"}
    for method, url in (("GET", path("a")), ("GET", OBJECTS), ("PUT", session)):
        assert (await cloud.client.request(method, url, headers=wrong)).status_code == 401


async def test_public_bucket_is_readable_without_token(cloud: Cloud) -> None:
    await cloud.put("a")
    cloud.guard.public = True
    for url in (f"{path('a')}?alt=media", f"/{BUCKET}/a"):
        assert (await cloud.without_token("GET", url)).content == b"data"


@pytest.mark.parametrize(
    ("permission", "method", "url"),
    [
        ("storage.objects.get", "GET", path("a")),
        ("storage.objects.list", "GET", OBJECTS),
        ("storage.objects.update", "PATCH", path("a")),
        ("storage.objects.delete", "DELETE", path("a")),
        ("storage.objects.create", "POST", f"{UPLOAD}?uploadType=media&name=b"),
        ("storage.objects.create", "POST", f"{UPLOAD}?uploadType=resumable&name=b"),
        ("storage.objects.delete", "POST", f"{UPLOAD}?uploadType=media&name=a"),
        ("storage.objects.delete", "POST", f"{path('a')}/moveTo/o/b"),
        ("storage.objects.create", "POST", f"{path('a')}/copyTo/b/{BUCKET}/o/b"),
        ("storage.objects.get", "POST", f"{path('a')}/rewriteTo/b/{BUCKET}/o/b"),
        ("storage.buckets.get", "GET", BUCKET_PATH),
        ("storage.buckets.update", "PATCH", BUCKET_PATH),
        ("storage.buckets.delete", "DELETE", BUCKET_PATH),
        ("storage.buckets.list", "GET", BUCKETS),
        ("storage.buckets.create", "POST", BUCKETS),
        ("storage.objects.list", "GET", f"{BUCKET_PATH}/storageLayout"),
        ("storage.managedFolders.list", "GET", f"{BUCKET_PATH}/managedFolders"),
    ],
)
async def test_each_request_requires_its_permission(
    cloud: Cloud, permission: str, method: str, url: str
) -> None:
    await cloud.put("a")
    cloud.guard.denied.add(permission)
    refused = await cloud.client.request(method, url)
    assert (refused.status_code, reason(refused)) == (403, "forbidden")
    message = refused.json()["error"]["message"]
    assert message.startswith(f"web@p.iam.gserviceaccount.com does not have {permission} access")


async def test_permission_is_checked_on_object_and_bucket(cloud: Cloud) -> None:
    await cloud.put("a")
    await cloud.client.get(BUCKET_PATH)
    bucket = f"projects/_/buckets/{BUCKET}"
    assert ("storage.objects.create", f"{bucket}/objects/a") in cloud.guard.asked
    assert ("storage.buckets.get", bucket) in cloud.guard.asked


async def test_create_only_upload_requires_no_delete_permission(cloud: Cloud) -> None:
    cloud.guard.denied.add("storage.objects.delete")
    assert (await cloud.put("a", ifGenerationMatch=0)).status_code == 200
    assert (await cloud.put("a", ifGenerationMatch=0)).status_code == 412
    assert (await cloud.put("a")).status_code == 403


async def test_missing_object_returns_403_without_list_permission(cloud: Cloud) -> None:
    cloud.guard.denied.add("storage.objects.list")
    assert (await cloud.get("missing")).status_code == 403


async def test_test_permissions_returns_held_permissions(cloud: Cloud) -> None:
    cloud.guard.denied.add("storage.objects.delete")
    wanted = ["storage.objects.get", "storage.objects.delete"]
    url = f"/storage/v1/b/{BUCKET}/iam/testPermissions"
    answer = (await cloud.client.get(url, params={"permissions": wanted})).json()
    assert answer["permissions"] == ["storage.objects.get"]


async def test_boundary_restricts_access_to_its_prefix(cloud: Cloud) -> None:
    for name in ("runs/1/a", "runs/2/a"):
        await cloud.put(name)
    cloud.tokens.downscope("small", "roles/storage.objectViewer", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    allowed = await cloud.client.get(path("runs/1/a"), headers=small)
    refused = await cloud.client.get(path("runs/2/a"), headers=small)
    assert (allowed.status_code, refused.status_code) == (200, 403)


async def test_boundary_restricts_lists_to_its_prefix(cloud: Cloud) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectViewer", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    for prefix, status in (("runs/1/", 200), ("runs/1/a", 200), ("runs/", 403), ("", 403)):
        response = await cloud.client.get(OBJECTS, params={"prefix": prefix}, headers=small)
        assert response.status_code == status


async def test_boundary_restricts_permissions(cloud: Cloud) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectCreator", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    statuses = []
    for name in ("runs/1/a", "runs/1/a", "runs/2/a"):
        params = {"uploadType": "media", "name": name}
        response = await cloud.client.post(UPLOAD, params=params, content=b"x", headers=small)
        statuses.append(response.status_code)
    assert statuses == [200, 403, 403]


async def test_upload_session_keeps_boundary_of_its_owner(cloud: Cloud) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectCreator", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    session = await cloud.begin("runs/1/a", headers=small)
    await cloud.put("runs/1/a")
    await cloud.restart()
    assert (await cloud.client.put(session, content=b"x")).status_code == 403


async def test_missing_object_returns_404_with_list_permission_on_its_name(cloud: Cloud) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectViewer", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    missing = await cloud.client.get(path("runs/1/missing"), headers=small)
    elsewhere = await cloud.client.get(path("runs/2/missing"), headers=small)
    assert (missing.status_code, elsewhere.status_code) == (404, 403)


async def test_public_access_prevention_refuses_anonymous_callers(cloud: Cloud) -> None:
    await cloud.put("a")
    cloud.guard.public = True
    iam = {"iamConfiguration": {"publicAccessPrevention": "enforced"}}
    changed = await cloud.client.patch(BUCKET_PATH, json=iam)

    assert changed.json()["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert (await cloud.without_token("GET", f"/{BUCKET}/a")).status_code == 401
    assert (await cloud.get("a")).status_code == 200
