"""HMAC keys by the JSON API, and requests that they sign."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.unit.devenv.gcp.storage.cloud import BUCKET, StorageCloud, reason
from tests.unit.devenv.gcp.storage.hmac_signer import AWS, GOOGLE, HmacSigner

pytestmark = pytest.mark.anyio

EMAIL = "web@p.iam.gserviceaccount.com"
KEYS = "/storage/v1/projects/local-project/hmacKeys"
Key = tuple[str, str]


async def create(cloud: StorageCloud, email: str = EMAIL) -> Key:
    """Return the access id and the secret of a new key."""
    answer = (await cloud.client.post(KEYS, params={"serviceAccountEmail": email})).json()
    return answer["metadata"]["accessId"], answer["secret"]


async def set_state(cloud: StorageCloud, key: Key, state: str, **more: str) -> httpx.Response:
    return await cloud.client.put(f"{KEYS}/{key[0]}", json={"state": state, **more})


async def send(
    cloud: StorageCloud, method: str, path: str, signer: HmacSigner, **more: Any
) -> httpx.Response:
    body = more.pop("content", b"")
    headers = signer.headers(method, path, body, **more)
    return await cloud.client.request(method, path, content=body, headers=headers)


async def test_created_key_shows_its_secret_once(cloud: StorageCloud) -> None:
    access_id, secret = await create(cloud)

    found = (await cloud.client.get(f"{KEYS}/{access_id}")).json()
    assert (len(access_id), access_id[:6], len(secret)) == (61, "GOOG1E", 40)
    assert (found["state"], found["serviceAccountEmail"]) == ("ACTIVE", EMAIL)
    assert "secret" not in found
    assert ("storage.hmacKeys.create", "projects/local-project") in cloud.guard.asked


async def test_keys_are_listed_by_account_and_pages(cloud: StorageCloud) -> None:
    made = sorted([(await create(cloud))[0] for _ in range(3)])
    first = (await cloud.client.get(KEYS, params={"maxResults": 2})).json()
    rest = (await cloud.client.get(KEYS, params={"pageToken": first["nextPageToken"]})).json()
    other = await cloud.client.get(KEYS, params={"serviceAccountEmail": "job@p"})

    assert [key["accessId"] for key in first["items"] + rest["items"]] == made
    assert "items" not in other.json()


async def test_key_must_be_inactive_to_be_deleted(cloud: StorageCloud) -> None:
    key = await create(cloud)
    path = f"{KEYS}/{key[0]}"

    assert (await cloud.client.delete(path)).status_code == 400
    assert (await set_state(cloud, key, "INACTIVE")).json()["state"] == "INACTIVE"
    assert (await cloud.client.delete(path)).status_code == 204
    assert (await set_state(cloud, key, "ACTIVE")).status_code == 400
    assert "items" not in (await cloud.client.get(KEYS)).json()
    [listed] = (await cloud.client.get(KEYS, params={"showDeletedKeys": "true"})).json()["items"]
    assert listed["state"] == "DELETED"
    await cloud.clock.turn(30 * 86_400)
    assert (await cloud.client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", KEYS, {}, 400),
        ("POST", f"{KEYS}?serviceAccountEmail=nobody@p", {}, 404),
        ("GET", f"{KEYS}/GOOG1E", {}, 404),
        ("PUT", f"{KEYS}/KEY", {"state": "DELETED"}, 400),
        ("PUT", f"{KEYS}/KEY", {}, 400),
        ("PUT", f"{KEYS}/KEY", {"state": "INACTIVE", "etag": "x"}, 412),
        ("GET", "/storage/v1/projects/other/hmacKeys", {}, 404),
    ],
)
async def test_wrong_request_for_a_key_is_refused(
    cloud: StorageCloud, method: str, path: str, body: dict[str, str], status: int
) -> None:
    access_id, _ = await create(cloud)
    refused = await cloud.client.request(method, path.replace("KEY", access_id), json=body)

    assert refused.status_code == status
    assert reason(refused)


async def test_account_has_at_most_ten_keys(cloud: StorageCloud) -> None:
    for _ in range(10):
        await create(cloud)

    refused = await cloud.client.post(KEYS, params={"serviceAccountEmail": EMAIL})
    assert refused.status_code == 429


@pytest.mark.parametrize("form", [AWS, GOOGLE])
async def test_signed_request_stores_reads_and_deletes(
    cloud: StorageCloud, form: tuple[str, str, str, str]
) -> None:
    signer = HmacSigner(await create(cloud), form, cloud.clock.now())
    path = f"/{BUCKET}/dir/a%20b~%C3%A4"
    more = {f"{signer.mark}-meta-colour": "green", "content_type": "text/csv"}
    stored = await send(cloud, "PUT", path, signer, content=b"1,2", **more)
    item = (await cloud.get("dir/a b~ä")).json()
    read = await send(cloud, "GET", path, signer)
    gone = await send(cloud, "DELETE", path, signer)

    assert (stored.status_code, gone.status_code) == (200, 204)
    assert (item["contentType"], item["metadata"]) == ("text/csv", {"colour": "green"})
    assert read.content == b"1,2"


@pytest.mark.parametrize("form", [AWS, GOOGLE])
async def test_signed_url_of_an_hmac_key_expires(
    cloud: StorageCloud, form: tuple[str, str, str, str]
) -> None:
    await cloud.put("a")
    url = HmacSigner(await create(cloud), form, cloud.clock.now()).url("GET", f"/{BUCKET}/a")

    assert (await cloud.without_token("GET", url)).content == b"data"
    assert (await cloud.without_token("DELETE", url)).status_code == 403
    await cloud.clock.turn(60)
    assert "ExpiredToken" in (await cloud.without_token("GET", url)).text


async def test_multipart_upload_is_signed_by_an_hmac_key(cloud: StorageCloud) -> None:
    signer, path = HmacSigner(await create(cloud), AWS, cloud.clock.now()), f"/{BUCKET}/large"
    begun = await send(cloud, "POST", f"{path}?uploads=", signer)
    upload = begun.text.partition("<UploadId>")[2].partition("<")[0]
    part = f"{path}?partNumber=1&uploadId={quote(upload)}"
    stored = await send(cloud, "PUT", part, signer, content=b"part")
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{stored.headers['etag']}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    done = await send(cloud, "POST", f"{path}?uploadId={quote(upload)}", signer, content=document)

    assert done.status_code == 200
    assert (await cloud.read("large")).content == b"part"


async def test_body_must_have_the_signed_digest(cloud: StorageCloud) -> None:
    signer = HmacSigner(await create(cloud), AWS, cloud.clock.now())
    headers = signer.headers("PUT", f"/{BUCKET}/a", b"signed")
    refused = await cloud.client.put(f"/{BUCKET}/a", content=b"other", headers=headers)

    assert "<Code>BadDigest</Code>" in refused.text
    assert cloud.blobs() == 0


async def test_body_in_chunks_is_refused_with_the_setting_of_the_client(
    cloud: StorageCloud,
) -> None:
    signer = HmacSigner(await create(cloud), AWS, cloud.clock.now())
    chunks = {"x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    refused = await send(cloud, "PUT", f"/{BUCKET}/a", signer, content=b"5\r\nhello", **chunks)

    assert refused.status_code == 400
    assert "request_checksum_calculation=when_required" in refused.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"x-amz-date": "20200101T000000Z"}, "RequestTimeTooSkewed"),
        ({"x-amz-date": "today"}, "InvalidArgument"),
        ({"x-amz-meta-new": "1"}, "MalformedSecurityHeader"),
        ({"x-goog-meta-new": "1"}, "MalformedSecurityHeader"),
        ({"authorization": "AWS4-HMAC-SHA256 nonsense"}, "InvalidArgument"),
        ({"authorization": "AWS KEY:signature"}, "InvalidArgument"),
    ],
)
async def test_changed_signed_request_is_refused(
    cloud: StorageCloud, change: dict[str, str], code: str
) -> None:
    headers = HmacSigner(await create(cloud), AWS, cloud.clock.now()).headers(
        "GET", f"/{BUCKET}/a", b""
    )
    refused = await cloud.client.get(f"/{BUCKET}/a", headers=headers | change)

    assert refused.status_code in (400, 403)
    assert f"<Code>{code}</Code>" in refused.text


async def test_wrong_secret_and_inactive_key_are_refused(cloud: StorageCloud) -> None:
    await cloud.put("a")
    key = await create(cloud)
    wrong = await send(
        cloud, "GET", f"/{BUCKET}/a", HmacSigner((key[0], "x"), AWS, cloud.clock.now())
    )
    await set_state(cloud, key, "INACTIVE")
    inactive = await send(cloud, "GET", f"/{BUCKET}/a", HmacSigner(key, AWS, cloud.clock.now()))

    assert "<Code>SignatureDoesNotMatch</Code>" in wrong.text
    assert "<Code>InvalidSecurity</Code>" in inactive.text


async def test_keys_survive_a_restart(cloud: StorageCloud) -> None:
    await cloud.put("a")
    key = await create(cloud)
    await cloud.restart()

    assert (
        await send(cloud, "GET", f"/{BUCKET}/a", HmacSigner(key, GOOGLE, cloud.clock.now()))
    ).content == b"data"
