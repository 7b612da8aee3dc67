"""Malformed requests, which get Google's error shape with a 4xx status."""

import random

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


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", "/storage/v1/nothing", b""),
        ("GET", f"{OBJECTS}/a/b/c", b""),
        ("GET", f"{OBJECTS}/%ff", b""),
        ("GET", f"{OBJECTS}?prefix=%ff", b""),
        ("GET", f"{OBJECTS}?maxResults=x", b""),
        ("GET", f"{OBJECTS}?matchGlob=[z-a]", b""),
        ("GET", f"{OBJECTS}?" + "a=1&" * 500, b""),
        ("GET", f"{OBJECTS}/a?generation=x", b""),
        ("GET", f"{OBJECTS}/" + "a" * 20_000, b""),
        ("TRACE", path("a"), b""),
        ("PATCH", path("a"), b"["),
        ("PATCH", path("a"), b"[" * 100_000),
        ("PATCH", path("a"), b"[]"),
        ("PATCH", path("a"), b'{"metadata": 1}'),
        ("PATCH", path("a"), b'{"metadata": {"k": 1}}'),
        ("PATCH", path("a"), b'{"contentType": "a\\r\\nSet-Cookie: b"}'),
        ("PATCH", path("a"), b'{"metadata": {"k": "' + b"x" * 9000 + b'"}}'),
        ("PATCH", path("a"), b'{"metadata": "' + b"x" * 2_000_000 + b'"}'),
        ("PATCH", path("a"), b'{"metadata":' * 900 + b"{}" + b"}" * 900),
        ("PATCH", path("a"), b'{"customTime": "0001-01-01T00:00:00+23:59"}'),
        ("PATCH", path("a"), b'{"eventBasedHold": "yes"}'),
        ("PATCH", BUCKET_PATH, b'{"retentionPolicy": [1]}'),
        ("PATCH", BUCKET_PATH, b'{"cors": [1]}'),
        ("PATCH", BUCKET_PATH, b'{"labels": {"a": 1}}'),
        ("PATCH", BUCKET_PATH, b'{"iamConfiguration": "x"}'),
        ("PATCH", BUCKET_PATH, b'{"softDeletePolicy": {"retentionDurationSeconds": "x"}}'),
        ("POST", f"{BUCKET_PATH}/lockRetentionPolicy?ifMetagenerationMatch=x", b""),
        ("GET", f"{OBJECTS}?fields=a((b", b""),
        ("POST", f"{path('a')}/compose", b"{}"),
        ("POST", f"{path('a')}/compose", b'{"sourceObjects": []}'),
        ("POST", f"{path('a')}/compose", b'{"sourceObjects": [1]}'),
        ("POST", f"{path('a')}/compose", b'{"sourceObjects": [{"name": "\\ud800"}]}'),
        ("POST", f"{path('a')}/compose", b'{"sourceObjects": [{"name": "a", "generation": []}]}'),
        ("POST", f"{path('a')}/copyTo/b/{BUCKET}/o/" + "x" * 1025, b""),
        ("POST", BUCKETS, b'{"name": "Not A Name"}'),
        ("POST", BUCKETS, b'{"name": {}}'),
        ("POST", UPLOAD, b""),
        ("POST", f"{UPLOAD}?uploadType=media", b""),
        ("POST", f"{UPLOAD}?uploadType=media&name=..", b""),
        ("POST", f"{UPLOAD}?uploadType=media&name=a%0d%0ab", b""),
        ("POST", f"{UPLOAD}?uploadType=multipart", b"x"),
        ("POST", f"{UPLOAD}?uploadType=resumable", b'{"name": "\\ud800"}'),
        ("POST", f"{UPLOAD}?uploadType=resumable", b'{"name": 1}'),
        ("POST", "/upload/storage/v1/b/no-such-bucket/o?uploadType=media&name=a", b""),
        ("PUT", f"{UPLOAD}?upload_id=..%2f..%2fgcp.db", b""),
        ("DELETE", UPLOAD, b""),
    ],
)
async def test_bad_request_returns_a_4xx_error(
    cloud: StorageCloud, method: str, url: str, body: bytes
) -> None:
    await cloud.put("a")
    response = await cloud.client.request(method, url, content=body)
    assert 400 <= response.status_code < 500, response.text
    assert reason(response)
    assert (await cloud.read("a")).content == b"data"


@pytest.mark.parametrize("cut", range(0, 98, 7))
async def test_truncated_multipart_upload_leaves_no_file(cloud: StorageCloud, cut: int) -> None:
    body = (
        b'--B\r\nContent-Type: application/json\r\n\r\n{"name": "new"}\r\n'
        b"--B\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B--"
    )
    headers = {"content-type": "multipart/related; boundary=B"}
    params = {"uploadType": "multipart"}
    response = await cloud.client.post(UPLOAD, params=params, content=body[:cut], headers=headers)
    assert (response.status_code, reason(response)) == (400, "invalid")
    assert cloud.blobs() == 0


async def test_oversized_multipart_metadata_returns_413(cloud: StorageCloud) -> None:
    headers = {"content-type": "multipart/related; boundary=B"}
    params = {"uploadType": "multipart"}
    body = b"--B\r\n\r\n" + b" " * 2_000_000
    refused = await cloud.client.post(UPLOAD, params=params, content=body, headers=headers)
    assert (refused.status_code, reason(refused)) == (413, "uploadTooLarge")


async def test_random_path_never_returns_a_5xx(cloud: StorageCloud) -> None:
    chance = random.Random(7)  # noqa: S311
    pieces = [
        "/",
        "storage",
        "v1",
        "b",
        "o",
        "%",
        "%2F",
        "..",
        "upload",
        BUCKET,
        "?",
        "=",
        "&",
        "%00",
    ]
    for _ in range(300):
        raw = "/" + "".join(chance.choices(pieces, k=8)).lstrip("/")
        method = chance.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
        response = await cloud.client.request(method, raw)
        assert response.status_code < 500


async def test_object_with_unprintable_metadata_is_readable(cloud: StorageCloud) -> None:
    await cloud.put("a")
    patch = {"metadata": {"k\r\n": "v\r\n", "ö": "ö"}, "contentDisposition": "inline; ö"}
    assert (await cloud.client.patch(path("a"), json=patch)).status_code == 200
    assert (await cloud.client.get(f"/{BUCKET}/a")).content == b"data"


async def test_shared_host_has_no_xml_api(cloud: StorageCloud) -> None:
    missing = await cloud.client.get("http://www.googleapis.com/other/v1/thing")

    assert (missing.status_code, reason(missing)) == (404, "notFound")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"<a/>",
        b"<?xml version='1.0' encoding='none'?><a/>",
        b"<?xml version='1.0' encoding='utf-7'?><a/>",
        b"<a><Part><PartNumber>x</PartNumber><ETag>y</ETag></Part></a>",
    ],
)
async def test_invalid_completion_of_parallel_upload_returns_400(
    cloud: StorageCloud, body: bytes
) -> None:
    begun = await cloud.client.post(f"/{BUCKET}/a?uploads")
    upload_id = begun.text.partition("<UploadId>")[2].partition("<")[0]
    refused = await cloud.client.post(f"/{BUCKET}/a?uploadId={upload_id}", content=body)

    assert refused.status_code == 400
