"""Bytes that are stored or sent with gzip, cross-origin requests, parallel uploads."""

import asyncio
import gzip
import json
import re

import httpx
import pytest

from tests.unit.devenv.gcp.storage.cloud import (
    BUCKET,
    BUCKET_PATH,
    UPLOAD,
    StorageCloud,
    path,
    reason,
)

pytestmark = pytest.mark.anyio

PLAIN = b"hello " * 100_000
PACKED = gzip.compress(PLAIN)
FIVE_MIB = 5 * 1024 * 1024


async def put_gzip(cloud: StorageCloud, data: bytes = PACKED, **fields: str) -> None:
    await cloud.put("a", data, contentEncoding="gzip")
    await cloud.client.patch(path("a"), json=fields)


async def raw(cloud: StorageCloud, url: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """Return an answer and its body as it was sent."""
    async with cloud.client.stream("GET", url, headers=headers) as answer:
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


@pytest.mark.parametrize("url", [f"{path('a')}?alt=media", f"/{BUCKET}/a"])
@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0"])
async def test_gzip_object_is_decompressed_without_accept_encoding(
    cloud: StorageCloud, url: str, accepted: str
) -> None:
    await put_gzip(cloud)
    headers = {"accept-encoding": accepted, "range": "bytes=5-9"}
    answer, body = await raw(cloud, url, **headers)

    assert (answer.status_code, body) == (200, PLAIN)
    assert answer.headers["warning"] == "214 UploadServer gunzipped"
    assert answer.headers["x-goog-stored-content-encoding"] == "gzip"
    assert answer.headers["x-goog-stored-content-length"] == str(len(PACKED))
    assert not {"content-length", "content-encoding", "content-range"} & answer.headers.keys()


async def test_gzip_object_is_sent_as_stored_to_clients_that_accept_gzip(
    cloud: StorageCloud,
) -> None:
    await put_gzip(cloud)
    url = f"{path('a')}?alt=media"
    answer, body = await raw(cloud, url, **{"accept-encoding": "deflate, gzip;q=0.5"})
    part, piece = await raw(cloud, url, **{"accept-encoding": "gzip", "range": "bytes=2-5"})

    assert (answer.headers["content-encoding"], body) == ("gzip", PACKED)
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (part.status_code, piece) == (206, PACKED[2:6])


@pytest.mark.parametrize(
    ("data", "fields"), [(PACKED, {"cacheControl": "no-transform"}), (b"no gzip", {})]
)
async def test_gzip_object_is_not_decompressed_if_forbidden_or_impossible(
    cloud: StorageCloud, data: bytes, fields: dict[str, str]
) -> None:
    await put_gzip(cloud, data, **fields)
    answer, body = await raw(cloud, f"{path('a')}?alt=media", **{"accept-encoding": ""})

    assert (body, answer.headers["content-length"]) == (data, str(len(data)))


async def test_gzip_members_are_decompressed_one_after_another(cloud: StorageCloud) -> None:
    await put_gzip(cloud, PACKED + gzip.compress(b"more"))
    _, body = await raw(cloud, f"{path('a')}?alt=media", **{"accept-encoding": ""})

    assert body == PLAIN + b"more"


async def test_gzip_json_request_is_decompressed(cloud: StorageCloud) -> None:
    await cloud.put("a")
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    body = gzip.compress(json.dumps({"metadata": {"k": "v"}}).encode())
    answer = await cloud.client.patch(path("a"), content=body, headers=headers)
    upload = await cloud.client.post(
        f"{UPLOAD}?uploadType=media&name=b", content=PACKED, headers=headers
    )

    assert answer.json()["metadata"] == {"k": "v"}
    assert upload.json()["size"] == str(len(PLAIN))


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", b"{}"), ("gzip", gzip.compress(b"{}", mtime=0)[:-4]), ("br", b"{}")],
)
async def test_broken_content_encoding_is_refused(
    cloud: StorageCloud, coding: str, body: bytes
) -> None:
    await cloud.put("a")
    headers = {"content-encoding": coding}
    refused = await cloud.client.patch(path("a"), content=body, headers=headers)

    assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_cors_rule_answers_preflight_and_marks_responses(cloud: StorageCloud) -> None:
    rule = {"origin": ["https://app"], "method": ["PUT"], "responseHeader": ["x-goog-meta-a"]}
    await cloud.client.patch(BUCKET_PATH, json={"cors": [rule]})
    ask = {"origin": "https://app", "access-control-request-method": "PUT"}
    wanted = {"access-control-request-headers": "content-type, x-goog-meta-a"}
    allowed = await cloud.without_token("OPTIONS", f"/{BUCKET}/a", headers=ask | wanted)
    stored = await cloud.client.put(f"/{BUCKET}/a", headers={"origin": "https://app"})

    assert allowed.headers["access-control-allow-origin"] == "https://app"
    assert allowed.headers["access-control-allow-headers"] == "content-type, x-goog-meta-a"
    assert stored.headers["access-control-expose-headers"] == "x-goog-meta-a"


@pytest.mark.parametrize(
    "other",
    [
        {"origin": "https://other"},
        {"access-control-request-method": "DELETE"},
        {"access-control-request-headers": "x-other"},
    ],
)
async def test_cors_preflight_without_a_rule_allows_nothing(
    cloud: StorageCloud, other: dict[str, str]
) -> None:
    rule = {"origin": ["https://app"], "method": ["PUT"]}
    await cloud.client.patch(BUCKET_PATH, json={"cors": [rule]})
    ask = {"origin": "https://app", "access-control-request-method": "PUT"} | other
    answer = await cloud.without_token("OPTIONS", f"/{BUCKET}/a", headers=ask)

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_cors_of_the_json_api_allows_every_origin(cloud: StorageCloud) -> None:
    ask = {"origin": "https://app", "access-control-request-method": "PATCH"}
    allowed = await cloud.without_token("OPTIONS", path("a"), headers=ask)
    missing = await cloud.client.get(path("a"), headers={"origin": "https://app"})

    assert allowed.headers["access-control-allow-methods"] == "PATCH"
    assert missing.status_code == 404
    assert missing.headers["access-control-allow-origin"] == "https://app"


class ParallelUpload:
    """A multipart upload of the XML API."""

    def __init__(self, cloud: StorageCloud, name: str = "big") -> None:
        self._client = cloud.client
        self.url = f"/{BUCKET}/{name}"
        self.upload_id = ""

    async def begin(self, **headers: str) -> None:
        answer = await self._client.post(f"{self.url}?uploads", headers=headers)
        found = re.search("<UploadId>(.*)</UploadId>", answer.text)
        assert found
        self.upload_id = found[1]

    async def put(self, number: int, data: bytes, **headers: str) -> httpx.Response:
        query = {"partNumber": str(number), "uploadId": self.upload_id}
        return await self._client.put(self.url, params=query, content=data, headers=headers)

    async def complete(self, *parts: tuple[int, str]) -> httpx.Response:
        items = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in parts
        )
        body = f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>"
        query = {"uploadId": self.upload_id}
        return await self._client.post(self.url, params=query, content=body)


def code(response: httpx.Response) -> str:
    found = re.search("<Code>(.*)</Code>", response.text)
    return found[1] if found else ""


async def test_parallel_upload_joins_parts_after_a_restart(cloud: StorageCloud) -> None:
    upload = ParallelUpload(cloud)
    await upload.begin(**{"content-type": "text/plain", "x-goog-meta-k": "v"})
    last = await upload.put(2, b"end")
    await upload.put(1, b"a" * FIVE_MIB)
    first = await upload.put(1, b"b" * FIVE_MIB)
    await cloud.restart()
    upload._client = cloud.client
    done = await upload.complete((1, first.headers["etag"]), (2, last.headers["etag"]))
    found = (await cloud.get("big")).json()

    assert done.status_code == 200, done.text
    assert (await cloud.read("big")).content == b"b" * FIVE_MIB + b"end"
    assert (found["contentType"], found["metadata"]) == ("text/plain", {"k": "v"})
    assert "md5Hash" not in found
    assert cloud.blobs() == 1


async def test_parallel_upload_refuses_wrong_completions(cloud: StorageCloud) -> None:
    upload = ParallelUpload(cloud)
    await upload.begin()
    one = (await upload.put(1, b"a")).headers["etag"]
    two = (await upload.put(2, b"b")).headers["etag"]
    answers = [
        await upload.complete((3, one)),
        await upload.complete((1, two)),
        await upload.complete((2, two), (1, one)),
        await upload.complete((1, one), (2, two)),
        await upload.complete(),
        await upload.put(0, b""),
    ]

    assert [code(answer) for answer in answers] == [
        *("InvalidPart", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"),
        "InvalidArgument",
    ]


async def test_parallel_upload_id_is_not_a_resumable_session(cloud: StorageCloud) -> None:
    upload = ParallelUpload(cloud)
    await upload.begin()
    query = {"upload_id": upload.upload_id}
    refused = await cloud.client.put(upload.url, params=query, content=b"x")

    assert refused.status_code == 404


async def test_parallel_upload_part_checks_its_checksum(cloud: StorageCloud) -> None:
    upload = ParallelUpload(cloud)
    await upload.begin()
    refused = await upload.put(1, b"a", **{"content-md5": "AAAA"})

    assert refused.status_code == 400
    assert cloud.blobs() == 0


async def test_aborted_parallel_upload_leaves_nothing(cloud: StorageCloud) -> None:
    upload = ParallelUpload(cloud)
    await upload.begin()
    await upload.put(1, b"a")
    query = {"uploadId": upload.upload_id}
    parts = await cloud.client.get(upload.url, params=query)
    aborted = await cloud.client.delete(upload.url, params=query)

    assert "<PartNumber>1</PartNumber>" in parts.text
    assert aborted.status_code == 204
    assert code(await upload.put(1, b"a")) == "NoSuchUpload"
    assert cloud.blobs() == 0


async def test_parallel_upload_aborted_while_it_completes_makes_no_object(
    cloud: StorageCloud,
) -> None:
    upload = ParallelUpload(cloud)
    await upload.begin()
    part = (1, (await upload.put(1, b"a")).headers["etag"])
    abort = cloud.client.delete(upload.url, params={"uploadId": upload.upload_id})
    completed, _ = await asyncio.gather(upload.complete(part), abort)
    assert code(completed) == "NoSuchUpload"
    assert cloud.blobs() == 0


async def test_parallel_upload_is_bound_to_its_object_and_rights(cloud: StorageCloud) -> None:
    upload, other = ParallelUpload(cloud), ParallelUpload(cloud, "other")
    await upload.begin()
    other.upload_id = upload.upload_id
    assert code(await other.put(1, b"a")) == "NoSuchUpload"
    cloud.guard.denied.add("storage.multipartUploads.create")
    assert (await upload.put(1, b"a")).status_code == 403


@pytest.mark.parametrize("subresource", ["cors", "lifecycle", "versioning", "tagging"])
async def test_unsupported_subresource_does_not_answer_with_the_object(
    cloud: StorageCloud, subresource: str
) -> None:
    await cloud.put("a")
    refused = await cloud.client.get(f"/{BUCKET}/a?{subresource}")

    assert (refused.status_code, code(refused)) == (400, "InvalidArgument")
    assert f"'{subresource}'" in refused.text


@pytest.mark.parametrize(
    ("size", "expected"), [(1, "EntityTooSmall"), (3, ""), (11, "EntityTooLarge")]
)
async def test_xml_upload_obeys_its_length_range(
    cloud: StorageCloud, size: int, expected: str
) -> None:
    headers = {"x-goog-content-length-range": "2,10"}
    answer = await cloud.client.put(f"/{BUCKET}/a", content=b"x" * size, headers=headers)

    assert code(answer) == expected
    assert cloud.blobs() == (0 if expected else 1)


async def test_xml_upload_sets_storage_class_and_custom_time(cloud: StorageCloud) -> None:
    headers = {"x-goog-storage-class": "NEARLINE", "x-goog-custom-time": "2026-01-01T00:00:00Z"}
    await cloud.client.put(f"/{BUCKET}/a", content=b"x", headers=headers)
    found = (await cloud.get("a")).json()

    assert (found["storageClass"], found["customTime"][:10]) == ("NEARLINE", "2026-01-01")


@pytest.mark.parametrize("header", ["x-goog-copy-source", "x-goog-object-lock-mode"])
async def test_xml_upload_refuses_headers_without_effect(cloud: StorageCloud, header: str) -> None:
    refused = await cloud.client.put(f"/{BUCKET}/a", headers={header: "x"})

    assert refused.status_code == 400
    assert f"'{header}'" in refused.text
