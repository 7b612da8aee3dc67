"""Preconditions of every kind of request."""

from typing import Any

import pytest

from tests.unit.devenv.gcp.storage.cloud import KIB256, OBJECTS, UPLOAD, StorageCloud, path, reason

pytestmark = pytest.mark.anyio


async def test_create_only_refuses_existing_object(cloud: StorageCloud) -> None:
    assert (await cloud.put("a", ifGenerationMatch=0)).status_code == 200
    refused = await cloud.put("a", b"other", ifGenerationMatch=0)
    assert (refused.status_code, reason(refused)) == (412, "conditionNotMet")
    assert (await cloud.read("a")).content == b"data"


async def test_create_only_is_decided_when_resumable_upload_ends(cloud: StorageCloud) -> None:
    session = await cloud.begin("a", ifGenerationMatch=0)
    await cloud.put("a", b"faster")
    refused = await cloud.chunk(session, "bytes 0-3/4", b"slow")
    assert (refused.status_code, reason(refused)) == (412, "conditionNotMet")
    assert (await cloud.read("a")).content == b"faster"
    assert cloud.blobs() == 1


async def test_resumable_upload_fails_early_if_precondition_fails(
    cloud: StorageCloud,
) -> None:
    await cloud.put("a")
    params: dict[str, Any] = {"uploadType": "resumable", "name": "a", "ifGenerationMatch": 0}
    assert (await cloud.client.post(UPLOAD, params=params)).status_code == 412


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("ifGenerationMatch", 200),
        ("ifGenerationNotMatch", 304),
        ("ifMetagenerationMatch", 412),
        ("ifMetagenerationNotMatch", 200),
    ],
)
async def test_read_honours_preconditions(cloud: StorageCloud, condition: str, status: int) -> None:
    generation = (await cloud.put("a")).json()["generation"]
    for extra in ({}, {"alt": "media"}):
        response = await cloud.get("a", **{condition: generation}, **extra)
        assert response.status_code == status
        assert status != 304 or not response.content


async def test_read_honours_entity_tags(cloud: StorageCloud) -> None:
    tag = (await cloud.put("a")).json()["etag"]
    assert (await cloud.read("a", **{"if-none-match": tag})).status_code == 304
    assert (await cloud.read("a", **{"if-match": "other"})).status_code == 412
    assert (await cloud.read("a", **{"if-match": tag})).status_code == 200


@pytest.mark.parametrize("condition", ["ifGenerationMatch", "ifMetagenerationMatch"])
async def test_delete_and_patch_honour_preconditions(cloud: StorageCloud, condition: str) -> None:
    await cloud.put("a")
    wrong = {condition: 7}
    assert (await cloud.client.delete(path("a"), params=wrong)).status_code == 412
    assert (await cloud.client.patch(path("a"), params=wrong, json={})).status_code == 412
    assert (await cloud.get("a")).json()["metageneration"] == "1"


async def test_failed_not_match_on_delete_returns_412(cloud: StorageCloud) -> None:
    generation = (await cloud.put("a")).json()["generation"]
    params = {"ifGenerationNotMatch": generation}
    assert (await cloud.client.delete(path("a"), params=params)).status_code == 412


async def test_copy_honours_preconditions_on_source_and_target(cloud: StorageCloud) -> None:
    await cloud.put("a")
    await cloud.put("b", b"old")
    url = f"{path('a')}/copyTo/b/local-project/o/b"
    for wrong in ("ifGenerationMatch", "ifSourceGenerationMatch", "ifSourceMetagenerationMatch"):
        assert (await cloud.client.post(url, params={wrong: 0})).status_code == 412
    assert (await cloud.read("b")).content == b"old"
    assert (await cloud.client.post(url)).status_code == 200
    assert cloud.blobs() == 2


async def test_generation_not_match_zero_requires_an_object(cloud: StorageCloud) -> None:
    assert (await cloud.put("a", ifGenerationNotMatch=0)).status_code == 412
    await cloud.put("a")
    assert (await cloud.put("a", b"new", ifGenerationNotMatch=0)).status_code == 200


@pytest.mark.parametrize("value", ["", "-1", "x", "9" * 30, "\u0661"])
async def test_invalid_precondition_is_refused(cloud: StorageCloud, value: str) -> None:
    refused = await cloud.put("a", ifGenerationMatch=value)
    assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_compose_honours_preconditions_of_sources_and_target(cloud: StorageCloud) -> None:
    generation = (await cloud.put("a")).json()["generation"]
    wrong = {"name": "a", "objectPreconditions": {"ifGenerationMatch": "1"}}
    right = {"name": "a", "objectPreconditions": {"ifGenerationMatch": generation}}
    url = f"{OBJECTS}/joined/compose"
    assert (await cloud.client.post(url, json={"sourceObjects": [wrong]})).status_code == 412
    create = {"ifGenerationMatch": 0}
    for status in (200, 412):
        response = await cloud.client.post(url, params=create, json={"sourceObjects": [right]})
        assert response.status_code == status


async def test_finished_upload_session_repeats_its_answer(cloud: StorageCloud) -> None:
    session = await cloud.begin("a", ifGenerationMatch=0)
    data = b"x" * (KIB256 + 1)
    first = await cloud.chunk(session, f"bytes 0-{KIB256}/{KIB256 + 1}", data)
    again = await cloud.chunk(session, f"bytes */{KIB256 + 1}")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
