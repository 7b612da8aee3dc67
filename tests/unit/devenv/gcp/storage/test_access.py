"""Access to Cloud Storage: tokens, permissions, boundaries."""

import re

import pytest

from devenv.gcp.caller import ApiCaller
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

NAME = f"projects/_/buckets/{BUCKET}/objects/runs/1/"
ONLY_RUN_1 = (
    f"resource.name.startsWith('{NAME}') || "
    "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('runs/1/')"
)


async def test_missing_token_returns_401_naming_permission(cloud: StorageCloud) -> None:
    refused = await cloud.without_token("GET", path("a"))
    assert (refused.status_code, reason(refused)) == (401, "authError")
    assert refused.headers["www-authenticate"].startswith("Bearer realm=")
    assert refused.json()["error"]["message"] == (
        "Anonymous caller does not have storage.objects.get access to the Google Cloud Storage "
        "object. Permission 'storage.objects.get' denied on resource (or it may not exist)."
    )


async def test_missing_token_is_403_with_details_in_the_xml_api(cloud: StorageCloud) -> None:
    refused = await cloud.without_token("GET", f"/{BUCKET}/a")
    cloud.guard.denied.add("storage.objects.get")
    theirs = await cloud.client.get(f"/{BUCKET}/a")

    assert (refused.status_code, theirs.status_code) == (403, 403)
    for answer, caller in ((refused, "Anonymous caller"), (theirs, "web@")):
        denied = "<Code>AccessDenied</Code><Message>Access denied.</Message><Details>"
        assert f"{denied}{caller}" in answer.text
        assert "does not have storage.objects.get access" in answer.text


async def test_policy_without_members_has_an_empty_list_of_bindings(cloud: StorageCloud) -> None:
    """Google's buckets have members from the start, so that clients append to the list."""
    policy = (await cloud.client.get(f"{BUCKET_PATH}/iam")).json()

    assert (policy["kind"], policy["bindings"]) == ("storage#policy", [])


async def test_wrong_token_returns_401_even_for_upload_session(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    wrong = {"authorization": "Bearer wrong"}
    for method, url in (("GET", path("a")), ("GET", OBJECTS), ("PUT", session)):
        assert (await cloud.client.request(method, url, headers=wrong)).status_code == 401


async def test_public_bucket_is_readable_without_token(cloud: StorageCloud) -> None:
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
    cloud: StorageCloud, permission: str, method: str, url: str
) -> None:
    await cloud.put("a")
    cloud.guard.denied.add(permission)
    refused = await cloud.client.request(method, url)
    assert (refused.status_code, reason(refused)) == (403, "forbidden")
    message = refused.json()["error"]["message"]
    assert message.startswith(f"web@p.iam.gserviceaccount.com does not have {permission} access")


async def test_permission_is_checked_on_object_and_bucket(cloud: StorageCloud) -> None:
    await cloud.put("a")
    await cloud.client.get(BUCKET_PATH)
    bucket = f"projects/_/buckets/{BUCKET}"
    assert ("storage.objects.create", f"{bucket}/objects/a") in cloud.guard.asked
    assert ("storage.buckets.get", bucket) in cloud.guard.asked


async def test_create_only_upload_requires_no_delete_permission(cloud: StorageCloud) -> None:
    cloud.guard.denied.add("storage.objects.delete")
    assert (await cloud.put("a", ifGenerationMatch=0)).status_code == 200
    assert (await cloud.put("a", ifGenerationMatch=0)).status_code == 412
    assert (await cloud.put("a")).status_code == 403


async def test_missing_object_returns_403_without_list_permission(cloud: StorageCloud) -> None:
    cloud.guard.denied.add("storage.objects.list")
    assert (await cloud.get("missing")).status_code == 403


async def test_test_permissions_returns_held_permissions(cloud: StorageCloud) -> None:
    cloud.guard.denied.add("storage.objects.delete")
    wanted = ["storage.objects.get", "storage.objects.delete"]
    url = f"/storage/v1/b/{BUCKET}/iam/testPermissions"
    answer = (await cloud.client.get(url, params={"permissions": wanted})).json()
    assert answer["permissions"] == ["storage.objects.get"]


async def test_boundary_restricts_access_to_its_prefix(cloud: StorageCloud) -> None:
    for name in ("runs/1/a", "runs/2/a"):
        await cloud.put(name)
    cloud.tokens.downscope("small", "roles/storage.objectViewer", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    allowed = await cloud.client.get(path("runs/1/a"), headers=small)
    refused = await cloud.client.get(path("runs/2/a"), headers=small)
    assert (allowed.status_code, refused.status_code) == (200, 403)


async def test_boundary_restricts_lists_to_its_prefix(cloud: StorageCloud) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectViewer", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    for prefix, status in (("runs/1/", 200), ("runs/1/a", 200), ("runs/", 403), ("", 403)):
        response = await cloud.client.get(OBJECTS, params={"prefix": prefix}, headers=small)
        assert response.status_code == status


async def test_boundary_restricts_permissions(cloud: StorageCloud) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectCreator", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    statuses = []
    for name in ("runs/1/a", "runs/1/a", "runs/2/a"):
        params = {"uploadType": "media", "name": name}
        response = await cloud.client.post(UPLOAD, params=params, content=b"x", headers=small)
        statuses.append(response.status_code)
    assert statuses == [200, 403, 403]


async def test_upload_session_keeps_boundary_of_its_owner(cloud: StorageCloud) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectCreator", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    session = await cloud.begin("runs/1/a", headers=small)
    await cloud.put("runs/1/a")
    await cloud.restart()
    assert (await cloud.client.put(session, content=b"x")).status_code == 403


async def test_missing_object_returns_404_with_list_permission_on_its_name(
    cloud: StorageCloud,
) -> None:
    cloud.tokens.downscope("small", "roles/storage.objectViewer", ONLY_RUN_1)
    small = {"authorization": "Bearer small"}
    missing = await cloud.client.get(path("runs/1/missing"), headers=small)
    elsewhere = await cloud.client.get(path("runs/2/missing"), headers=small)
    assert (missing.status_code, elsewhere.status_code) == (404, 403)


async def test_public_access_prevention_refuses_anonymous_callers(cloud: StorageCloud) -> None:
    await cloud.put("a")
    cloud.guard.public = True
    iam = {"iamConfiguration": {"publicAccessPrevention": "enforced"}}
    changed = await cloud.client.patch(BUCKET_PATH, json=iam)

    assert changed.json()["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert (await cloud.without_token("GET", f"/{BUCKET}/a")).status_code == 403
    assert (await cloud.get("a")).status_code == 200


LISTED = "/storage/v1/b/listed"
LISTED_UPLOAD = "/upload/storage/v1/b/listed/o?uploadType=media&name="
WEB, OTHER = "user-web@p.iam.gserviceaccount.com", "user-other@p.iam.gserviceaccount.com"
OWNERS = "project-owners-123456789012"
_NOT_UNIFORM = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}}}


@pytest.fixture
async def listed(cloud: StorageCloud) -> StorageCloud:
    """Return the cloud with a bucket whose lists decide, and a caller without any role."""
    made = await cloud.client.post(BUCKETS, json={"name": "listed", **_NOT_UNIFORM})
    assert made.status_code == 200, made.text
    cloud.tokens.callers["other"] = ApiCaller("other@p.iam.gserviceaccount.com")
    cloud.guard.strangers.add("other@p.iam.gserviceaccount.com")
    await cloud.client.post(f"{LISTED_UPLOAD}a", content=b"data")
    return cloud


async def _status(cloud: StorageCloud, method: str, url: str) -> int:
    headers = {"authorization": "Bearer other"}
    return (await cloud.client.request(method, url, headers=headers)).status_code


async def test_public_entry_lets_everybody_read_one_object(listed: StorageCloud) -> None:
    await listed.client.post(f"{LISTED_UPLOAD}b", content=b"data")
    entry = {"entity": "allUsers", "role": "READER"}
    made = await listed.client.post(f"{LISTED}/o/a/acl", json=entry)

    assert made.json()["kind"] == "storage#objectAccessControl"
    assert (await listed.without_token("GET", "/listed/a")).content == b"data"
    assert (await listed.without_token("GET", "/listed/b")).status_code == 403
    assert (await listed.without_token("DELETE", "/listed/a")).status_code == 403
    assert (await listed.client.delete(f"{LISTED}/o/a/acl/allUsers")).status_code == 204
    assert (await listed.without_token("GET", "/listed/a")).status_code == 403


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("READER", {"list", "bucket"}),
        ("WRITER", {"list", "bucket", "create", "delete"}),
        ("OWNER", {"list", "bucket", "create", "delete", "acl", "update"}),
    ],
)
async def test_role_in_bucket_list_allows_its_methods(
    listed: StorageCloud, role: str, allowed: set[str]
) -> None:
    await listed.client.post(f"{LISTED}/acl", json={"entity": OTHER, "role": role})
    calls = {
        "list": ("GET", f"{LISTED}/o"),
        "bucket": ("GET", LISTED),
        "create": ("POST", f"{LISTED_UPLOAD}new"),
        "delete": ("DELETE", f"{LISTED}/o/a"),
        "acl": ("GET", f"{LISTED}/acl"),
        "update": ("PATCH", LISTED),
        "drop": ("DELETE", LISTED),
    }
    answers = {name: await _status(listed, *call) for name, call in calls.items()}
    assert {name for name, status in answers.items() if status < 300} == allowed


async def test_default_list_and_predefined_list_apply_to_new_objects(listed: StorageCloud) -> None:
    await listed.client.put(f"{LISTED}/defaultObjectAcl/{OTHER}", json={"role": "READER"})
    await listed.client.post(f"{LISTED_UPLOAD}b", content=b"x")
    await listed.client.post(f"{LISTED_UPLOAD}c&predefinedAcl=private", content=b"x")
    entries = (await listed.client.get(f"{LISTED}/o/c/acl")).json()["items"]

    assert [await _status(listed, "GET", f"{LISTED}/o/{name}") for name in "abc"] == [403, 200, 403]
    assert [(entry["entity"], entry["role"]) for entry in entries] == [(WEB, "OWNER")]
    copied = await listed.client.post(f"{LISTED}/o/c/copyTo/b/listed/o/d", json={})
    assert (copied.status_code, await _status(listed, "GET", f"{LISTED}/o/d")) == (200, 200)


async def test_projection_full_shows_lists_to_those_who_may_see_them(listed: StorageCloud) -> None:
    await listed.client.post(f"{LISTED}/acl", json={"entity": OTHER, "role": "READER"})
    bucket = (await listed.client.get(f"{LISTED}?projection=full")).json()
    item = (await listed.client.get(f"{LISTED}/o/a?projection=full")).json()

    assert bucket["owner"] == {"entity": "project-owners-123456789012"}
    assert {entry["role"] for entry in bucket["acl"]} == {"OWNER", "READER"}
    assert [entry["projectTeam"]["team"] for entry in bucket["defaultObjectAcl"]] == [
        *("owners", "editors", "viewers")
    ]
    assert (item["owner"], item["acl"][-1]["entity"]) == ({"entity": WEB}, WEB)
    assert "acl" not in (await listed.client.get(f"{LISTED}/o/a")).json()
    assert await _status(listed, "GET", f"{LISTED}?projection=full") == 403


async def test_public_access_prevention_refuses_and_ignores_public_entries(
    listed: StorageCloud,
) -> None:
    entry = {"entity": "allUsers", "role": "READER"}
    await listed.client.post(f"{LISTED}/o/a/acl", json=entry)
    enforced = {"iamConfiguration": {"publicAccessPrevention": "enforced"}}
    await listed.client.patch(LISTED, json=enforced)

    assert (await listed.without_token("GET", "/listed/a")).status_code == 403
    refused = await listed.client.post(f"{LISTED}/acl", json=entry)
    assert (refused.status_code, reason(refused)) == (412, "conditionNotMet")
    policy = {"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}
    assert (await listed.client.put(f"{LISTED}/iam", json=policy)).status_code == 412


async def test_uniform_access_suspends_lists_and_is_locked_after_90_days(
    listed: StorageCloud,
) -> None:
    await listed.client.post(f"{LISTED}/o/a/acl", json={"entity": OTHER, "role": "READER"})
    on = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
    uniform = (await listed.client.patch(LISTED, json=on)).json()["iamConfiguration"]
    assert "lockedTime" in uniform["uniformBucketLevelAccess"]
    assert await _status(listed, "GET", f"{LISTED}/o/a") == 403

    assert (await listed.client.patch(LISTED, json=_NOT_UNIFORM)).status_code == 200
    assert await _status(listed, "GET", f"{LISTED}/o/a") == 200
    await listed.client.patch(LISTED, json=on)
    await listed.clock.turn(91 * 86_400)
    refused = await listed.client.patch(LISTED, json=_NOT_UNIFORM)
    assert (refused.status_code, "locked since" in refused.text) == (400, True)


async def test_each_generation_has_a_list_of_its_own(listed: StorageCloud) -> None:
    await listed.client.patch(LISTED, json={"versioning": {"enabled": True}})
    first = (await listed.client.get(f"{LISTED}/o/a")).json()["generation"]
    upload = f"{LISTED_UPLOAD}a&predefinedAcl=publicRead"
    second = (await listed.client.post(upload, content=b"public")).json()["generation"]

    urls = ("/listed/a", f"/listed/a?generation={first}", f"/listed/a?generation={second}")
    statuses = [(await listed.without_token("GET", url)).status_code for url in urls]
    assert statuses == [200, 403, 200]


async def test_empty_list_leaves_the_owner_alone(listed: StorageCloud) -> None:
    await listed.client.post(f"{LISTED}/o/a/acl", json={"entity": "allUsers", "role": "READER"})
    await listed.client.patch(f"{LISTED}/o/a", json={"acl": []})

    entries = (await listed.client.get(f"{LISTED}/o/a/acl")).json()["items"]
    assert [(entry["entity"], entry["role"]) for entry in entries] == [(WEB, "OWNER")]


@pytest.mark.parametrize(
    ("url", "body", "text"),
    [
        ("/acl", {"entity": "somebody", "role": "READER"}, "Invalid entity 'somebody'"),
        ("/acl", {"entity": "allUsers", "role": "READ"}, "one of OWNER, WRITER, READER"),
        ("/o/a/acl", {"entity": "allUsers", "role": "WRITER"}, "one of OWNER, READER"),
        ("/acl", {"entity": "allUsers", "role": "READER", "x": 1}, "The field 'x'"),
        ("/o/a/acl", {"entity": WEB, "role": "READER"}, "must keep the role OWNER"),
        ("/acl", {"entity": OWNERS, "role": "READER"}, f"{OWNERS}, must keep the role OWNER"),
    ],
)
async def test_wrong_entry_is_refused_by_name(
    listed: StorageCloud, url: str, body: dict[str, object], text: str
) -> None:
    refused = await listed.client.post(LISTED + url, json=body)
    assert (refused.status_code, text in refused.text) == (400, True), refused.text


async def test_entry_of_the_owner_cannot_be_deleted(listed: StorageCloud) -> None:
    refused = await listed.client.delete(f"{LISTED}/acl/{OWNERS}")
    assert (refused.status_code, "must keep the role OWNER" in refused.text) == (400, True)
    assert (await listed.client.get(f"{LISTED}/acl/{OWNERS}")).json()["role"] == "OWNER"
    assert (await listed.client.delete(f"{LISTED}/defaultObjectAcl/{OWNERS}")).status_code == 204


async def test_predefined_list_applies_to_uploads_in_several_requests(
    listed: StorageCloud,
) -> None:
    public = {"x-goog-acl": "public-read"}
    client, url = listed.client, "/listed/parts"
    resumable = await client.post("/listed/xml", headers=public | {"x-goog-resumable": "start"})
    query = "?uploadType=resumable&name=json&predefinedAcl=publicRead"
    begun = await client.post(f"/upload{LISTED}/o{query}")
    for answer in (resumable, begun):
        assert (await client.put(answer.headers["location"], content=b"x")).is_success
    upload = re.findall(
        "<UploadId>(.*)</UploadId>", (await client.post(f"{url}?uploads", headers=public)).text
    )
    part = await client.put(f"{url}?partNumber=1&uploadId={upload[0]}", content=b"x")
    done = f"<Part><PartNumber>1</PartNumber><ETag>{part.headers['etag']}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{done}</CompleteMultipartUpload>"
    assert (await client.post(f"{url}?uploadId={upload[0]}", content=body)).is_success

    names = ("xml", "json", "parts")
    read = [(await listed.without_token("GET", f"/listed/{name}")).content for name in names]
    assert read == [b"x", b"x", b"x"]


async def test_xml_api_reads_and_writes_lists(listed: StorageCloud) -> None:
    document = (
        "<AccessControlList><Entries><Entry><Scope type='UserByEmail'><EmailAddress>"
        "other@p.iam.gserviceaccount.com</EmailAddress></Scope><Permission>READ</Permission>"
        "</Entry></Entries></AccessControlList>"
    )
    put = await listed.client.put("/listed/a?acl", content=document)
    found = (await listed.client.get("/listed/a?acl")).text

    assert (put.status_code, await _status(listed, "GET", f"{LISTED}/o/a")) == (200, 200)
    assert "<Permission>FULL_CONTROL</Permission>" in found
    assert (await listed.client.put("/listed/a?acl", content="<")).status_code == 400
    headers = {"x-goog-acl": "public-read"}
    assert (await listed.client.put("/listed/new", content=b"x", headers=headers)).is_success
    assert (await listed.without_token("GET", "/listed/new")).content == b"x"
    assert (await listed.client.put("/listed?defaultObjectAcl", headers=headers)).is_success
    await listed.client.post(f"{LISTED_UPLOAD}after", content=b"x")
    assert (await listed.without_token("GET", "/listed/after")).content == b"x"
