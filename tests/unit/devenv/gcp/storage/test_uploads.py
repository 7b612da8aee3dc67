"""Resumable uploads."""

from collections.abc import AsyncIterator

import pytest

from devenv.gcp.storage.uploads import LIFETIME
from tests.unit.devenv.gcp.storage.cloud import KIB256, UPLOAD, StorageCloud, reason

pytestmark = pytest.mark.anyio


async def test_upload_status_names_last_stored_byte(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    nothing = await cloud.chunk(session, "bytes */*")
    assert (nothing.status_code, nothing.headers.get("range")) == (308, None)
    await cloud.chunk(session, f"bytes 0-{KIB256 - 1}/*", b"x" * KIB256)
    status = await cloud.chunk(session, "bytes */*")
    assert (status.status_code, status.headers["range"]) == (308, f"bytes=0-{KIB256 - 1}")


async def test_upload_session_is_on_the_host_of_the_request(cloud: StorageCloud) -> None:
    params = {"uploadType": "resumable", "name": "a b"}
    response = await cloud.client.post(UPLOAD, params=params, headers={"host": "localhost:4588"})
    assert response.headers["location"].startswith(f"http://localhost:4588{UPLOAD}?uploadType=")


async def test_upload_ends_with_chunk_that_reaches_total(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    await cloud.chunk(session, f"bytes 0-{KIB256 - 1}/*", b"x" * KIB256)
    done = await cloud.chunk(session, f"bytes {KIB256}-{KIB256 + 2}/{KIB256 + 3}", b"end")
    assert (done.status_code, done.json()["size"]) == (200, str(KIB256 + 3))
    assert (await cloud.read("a")).content == b"x" * KIB256 + b"end"


async def test_upload_ends_when_total_equals_stored_bytes(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    await cloud.chunk(session, f"bytes 0-{KIB256 - 1}/*", b"x" * KIB256)
    assert (await cloud.chunk(session, f"bytes */{KIB256}")).status_code == 200


async def test_resumable_upload_accepts_empty_object(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    assert (await cloud.chunk(session, "bytes */0")).json()["size"] == "0"
    assert (await cloud.read("a")).content == b""


async def test_upload_without_content_range_is_complete(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    assert (await cloud.client.put(session, content=b"all")).json()["size"] == "3"


async def test_repeated_bytes_are_stored_once(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    data = b"a" * KIB256 + b"b" * KIB256
    await cloud.chunk(session, f"bytes 0-{KIB256 - 1}/{len(data)}", data[:KIB256])
    await cloud.chunk(session, f"bytes 0-{len(data) - 1}/{len(data)}", data)
    assert (await cloud.read("a")).content == data


@pytest.mark.parametrize(
    ("content_range", "size"),
    [
        ("bytes 5-9/10", 5),
        ("bytes 0-9/*", 10),
        ("bytes 0-3/4", 5),
        ("bytes 3-2/4", 1),
        ("bytes 0-9/5", 10),
        ("bytes 0-", 1),
        ("nonsense", 1),
    ],
)
async def test_invalid_chunk_is_refused(cloud: StorageCloud, content_range: str, size: int) -> None:
    session = await cloud.begin("a")
    refused = await cloud.chunk(session, content_range, b"x" * size)
    assert (refused.status_code, reason(refused)) == (400, "invalid")
    assert "range" not in (await cloud.chunk(session, "bytes */*")).headers


async def test_changed_total_is_refused(cloud: StorageCloud) -> None:
    session = await cloud.begin("a", headers={"x-upload-content-length": "10"})
    assert (await cloud.chunk(session, "bytes 0-3/4", b"1234")).status_code == 400
    assert (await cloud.client.put(session, content=b"x" * 11)).status_code == 400
    assert (await cloud.chunk(session, "bytes 0-9/10", b"0123456789")).status_code == 200


async def test_upload_session_continues_after_restart(cloud: StorageCloud) -> None:
    session = await cloud.begin("a", ifGenerationMatch=0)
    await cloud.chunk(session, f"bytes 0-{KIB256 - 1}/*", b"x" * KIB256)
    await cloud.restart()
    status = await cloud.chunk(session, "bytes */*")
    assert status.headers["range"] == f"bytes=0-{KIB256 - 1}"
    done = await cloud.chunk(session, f"bytes {KIB256}-{KIB256}/{KIB256 + 1}", b"y")
    assert done.json()["md5Hash"] == (await cloud.put("b", b"x" * KIB256 + b"y")).json()["md5Hash"]


async def test_upload_session_needs_no_token(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    assert (await cloud.without_token("PUT", session, content=b"all")).status_code == 200


async def test_upload_ends_with_rights_of_its_owner(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    await cloud.put("a", b"first")
    cloud.guard.denied.add("storage.objects.delete")
    assert reason(await cloud.client.put(session, content=b"second")) == "forbidden"
    assert (await cloud.read("a")).content == b"first"


async def test_checksum_is_verified_after_last_chunk(cloud: StorageCloud) -> None:
    params = {"uploadType": "resumable", "name": "a"}
    begun = await cloud.client.post(UPLOAD, params=params, json={"crc32c": "AAAAAA=="})
    assert (await cloud.client.put(begun.headers["location"], content=b"x")).status_code == 400
    assert cloud.blobs() == 0


async def test_wrong_checksum_of_last_chunk_is_refused(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    headers = {"x-goog-hash": "crc32c=AAAAAA=="}
    assert (await cloud.client.put(session, content=b"x", headers=headers)).status_code == 400
    assert (await cloud.get("a")).status_code == 404


async def test_cancelled_upload_session_is_gone(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    await cloud.chunk(session, f"bytes 0-{KIB256 - 1}/*", b"x" * KIB256)
    assert (await cloud.client.delete(session)).status_code == 499
    assert reason(await cloud.chunk(session, "bytes */*")) == "notFound"
    assert cloud.blobs() == 0


async def test_session_cancelled_while_bytes_come_makes_no_object(
    cloud: StorageCloud,
) -> None:
    session = await cloud.begin("a")

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await cloud.client.delete(session)
        yield b"y"

    assert (await cloud.client.put(session, content=body())).status_code == 404
    assert ((await cloud.get("a")).status_code, cloud.blobs()) == (404, 0)


async def test_upload_session_expires_after_a_week(cloud: StorageCloud) -> None:
    """A total that is told later makes it no longer."""
    session = await cloud.begin("a")
    await cloud.clock.turn(LIFETIME - 1)
    assert (await cloud.chunk(session, "bytes */500000")).status_code == 308
    await cloud.clock.turn(2)
    assert (await cloud.chunk(session, "bytes */*")).status_code == 404
    await cloud.restart()
    assert (await cloud.chunk(session, "bytes */*")).status_code == 404


@pytest.mark.parametrize("total", ["5", "*"])
async def test_open_content_range_brings_all_that_is_left(cloud: StorageCloud, total: str) -> None:
    session = await cloud.begin("a")
    done = await cloud.chunk(session, f"bytes 0-*/{total}", b"hello")

    assert (done.status_code, done.json()["size"]) == (200, "5")


async def test_no_308_header_turns_incomplete_into_200(cloud: StorageCloud) -> None:
    session = await cloud.begin("a")
    headers = {"content-range": f"bytes 0-{KIB256 - 1}/*", "x-guploader-no-308": "yes"}
    answer = await cloud.client.put(session, content=b"x" * KIB256, headers=headers)

    assert answer.status_code == 200
    assert answer.headers["x-http-status-code-override"] == "308"
    assert answer.headers["range"] == f"bytes=0-{KIB256 - 1}"


async def test_resumable_path_begins_an_upload_there(cloud: StorageCloud) -> None:
    query = {"uploadType": "resumable", "name": "a"}
    begun = await cloud.client.post(f"/resumable{UPLOAD}", params=query)
    done = await cloud.client.put(begun.headers["location"], content=b"data")

    assert "/resumable/upload/" in begun.headers["location"]
    assert done.json()["name"] == "a"
