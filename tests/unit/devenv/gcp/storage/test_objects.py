"""Objects: writes, reads, changes, compositions, deletions."""

import base64
import hashlib

import google_crc32c
import pytest

from tests.unit.devenv.gcp.storage.cloud import (
    BUCKET_PATH,
    OBJECTS,
    UPLOAD,
    StorageCloud,
    path,
    reason,
)

pytestmark = pytest.mark.anyio


async def test_object_has_checksums_of_its_bytes(cloud: StorageCloud) -> None:
    item = (await cloud.put("a", b"hello")).json()
    assert item["md5Hash"] == base64.b64encode(hashlib.md5(b"hello").digest()).decode()  # noqa: S324
    assert base64.b64decode(item["crc32c"]) == google_crc32c.value(b"hello").to_bytes(4)
    headers = (await cloud.read("a")).headers
    assert headers["x-goog-hash"] == f"crc32c={item['crc32c']},md5={item['md5Hash']}"
    assert headers["x-goog-generation"] == item["generation"]


async def test_upload_with_wrong_checksum_is_refused(cloud: StorageCloud) -> None:
    params = {"uploadType": "media", "name": "a"}
    for header in ({"x-goog-hash": "crc32c=AAAAAA=="}, {"content-md5": "AAAA"}):
        refused = await cloud.client.post(UPLOAD, params=params, content=b"x", headers=header)
        assert (refused.status_code, reason(refused)) == (400, "invalid")
        assert "doesn't match calculated" in refused.json()["error"]["message"]
    assert cloud.blobs() == 0


@pytest.mark.parametrize("end", ["\r\n", "\n"])
async def test_multipart_upload_stores_metadata_and_bytes(cloud: StorageCloud, end: str) -> None:
    lines = [
        "--B==",
        "Content-Type: application/json",
        "",
        '{"name": "dir/ä", "metadata": {"k": "v"}}',
    ]
    lines += ["--B==", "content-type: text/csv", "", f"1,2{end}--B=", "--B==--", ""]
    headers = {"content-type": 'multipart/related; boundary="B=="'}
    params = {"uploadType": "multipart"}
    body = end.join(lines).encode()
    item = (await cloud.client.post(UPLOAD, params=params, content=body, headers=headers)).json()
    assert (item["name"], item["contentType"], item["metadata"]) == (
        "dir/ä",
        "text/csv",
        {"k": "v"},
    )
    assert (await cloud.read("dir/ä")).content == f"1,2{end}--B=".encode()


@pytest.mark.parametrize(
    ("asked", "status", "data", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
async def test_download_honours_byte_ranges(
    cloud: StorageCloud, asked: str, status: int, data: bytes | None, content_range: str | None
) -> None:
    await cloud.put("a", b"0123456789")
    response = await cloud.read("a", range=asked)
    assert response.status_code == status
    assert response.headers.get("content-range") == content_range
    assert data is None or response.content == data


async def test_generation_grows_even_if_clock_goes_back(cloud: StorageCloud) -> None:
    first = int((await cloud.put("a")).json()["generation"])
    assert first == int(cloud.clock.now() * 1_000_000)
    await cloud.client.delete(path("a"))
    await cloud.clock.turn(-3600)
    await cloud.restart()
    assert int((await cloud.put("a")).json()["generation"]) > first


async def test_overwritten_generation_is_gone(cloud: StorageCloud) -> None:
    old = (await cloud.put("a", b"old")).json()["generation"]
    new = (await cloud.put("a", b"new")).json()["generation"]
    assert (await cloud.get("a", generation=new)).json()["size"] == "3"
    gone = await cloud.get("a", generation=old, alt="media")
    assert (gone.status_code, reason(gone)) == (404, "notFound")
    assert cloud.blobs() == 1


async def test_versioned_bucket_keeps_generations(cloud: StorageCloud) -> None:
    bucket = OBJECTS.removesuffix("/o")
    await cloud.client.patch(bucket, json={"versioning": {"enabled": True}})
    old = (await cloud.put("a", b"old")).json()["generation"]
    await cloud.put("a", b"new")
    assert (await cloud.get("a", generation=old, alt="media")).content == b"old"
    listed = (await cloud.client.get(OBJECTS, params={"versions": "true"})).json()["items"]
    assert ["timeDeleted" in item for item in listed] == [True, False]
    await cloud.client.delete(path("a"))
    assert (await cloud.get("a")).status_code == 404
    assert (await cloud.client.delete(path("a"), params={"generation": old})).status_code == 204


async def test_object_patch_merges_and_increments_metageneration(cloud: StorageCloud) -> None:
    await cloud.put("a")
    await cloud.client.patch(
        path("a"), json={"metadata": {"k": "v", "l": "w"}, "contentType": "a/b"}
    )
    patch = {"metadata": {"k": None}, "cacheControl": "no-store"}
    item = (await cloud.client.patch(path("a"), json=patch)).json()
    assert (item["metageneration"], item["metadata"]) == ("3", {"l": "w"})
    assert (item["contentType"], item["cacheControl"]) == ("a/b", "no-store")
    replaced = (await cloud.client.put(path("a"), json={"contentType": "c/d"})).json()
    assert "metadata" not in replaced


async def test_composed_object_has_no_md5_and_counts_components(cloud: StorageCloud) -> None:
    await cloud.put("a", b"one ")
    await cloud.put("b", b"two")
    body = {"sourceObjects": [{"name": "a"}, {"name": "b"}], "destination": {"contentType": "x/y"}}
    item = (await cloud.client.post(f"{OBJECTS}/c/compose", json=body)).json()
    assert (item["componentCount"], item["contentType"]) == (2, "x/y")
    assert "md5Hash" not in item
    read = await cloud.read("c")
    assert (read.content, "md5" in read.headers["x-goog-hash"]) == (b"one two", False)
    assert cloud.blobs() == 3


async def test_rewrite_is_done_at_once_and_keeps_metadata(cloud: StorageCloud) -> None:
    await cloud.put("a", b"12345")
    await cloud.client.patch(path("a"), json={"metadata": {"k": "v"}})
    url = f"{path('a')}/rewriteTo/b/local-project/o/dir%2Fb"
    answer = (await cloud.client.post(url, json={})).json()
    assert (answer["done"], answer["totalBytesRewritten"], answer["objectSize"]) == (True, "5", "5")
    assert answer["resource"]["metadata"] == {"k": "v"}
    await cloud.client.delete(path("a"))
    assert (await cloud.read("dir/b")).content == b"12345"


async def test_move_deletes_its_source(cloud: StorageCloud) -> None:
    await cloud.put("a", b"12345")
    assert (await cloud.client.post(f"{path('a')}/moveTo/o/b")).status_code == 200
    assert (await cloud.get("a")).status_code == 404
    assert (await cloud.read("b")).content == b"12345"
    assert cloud.blobs() == 1


async def test_links_are_on_the_host_of_the_request(cloud: StorageCloud) -> None:
    await cloud.put("dir/a")
    item = (await cloud.client.get(path("dir/a"), headers={"host": "localhost:4588"})).json()
    assert item["mediaLink"].startswith("http://localhost:4588/download/storage/v1/b/")
    assert (await cloud.client.get(item["mediaLink"])).content == b"data"


async def test_download_continues_when_object_is_overwritten(cloud: StorageCloud) -> None:
    data = b"o" * 600_000
    await cloud.put("a", data)
    async with cloud.client.stream("GET", path("a"), params={"alt": "media"}) as response:
        await cloud.put("a", b"new")
        assert await response.aread() == data


async def test_changes_of_earlier_generations_keep_the_live_object(cloud: StorageCloud) -> None:
    await cloud.client.patch(BUCKET_PATH, json={"versioning": {"enabled": True}})
    first, second = [(await cloud.put("a", data)).json()["generation"] for data in (b"1", b"2")]
    earlier = f"{path('a')}?generation={first}"
    await cloud.client.patch(earlier, json={"metadata": {"k": "v"}})
    assert (await cloud.get("a")).json()["generation"] == second
    await cloud.client.delete(earlier)
    assert (await cloud.get("a")).json()["generation"] == second
    assert (await cloud.put("a", b"3", ifGenerationMatch=0)).status_code == 412
