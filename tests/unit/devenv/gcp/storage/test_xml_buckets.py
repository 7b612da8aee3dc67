"""Buckets by the XML API: creation, deletion, and settings as documents."""

import html
import re
from typing import Any

import pytest

from tests.unit.devenv.gcp.storage.cloud import BUCKET, BUCKET_PATH, StorageCloud

pytestmark = pytest.mark.anyio

_LIFECYCLE = (
    "<LifecycleConfiguration><Rule><Action><SetStorageClass>NEARLINE</SetStorageClass></Action>"
    "<Condition><Age>30</Age><IsLive>true</IsLive><MatchesPrefix>a/</MatchesPrefix>"
    "<MatchesPrefix>b/</MatchesPrefix></Condition></Rule></LifecycleConfiguration>"
)
_CORS = (
    "<CorsConfig><Cors><Origins><Origin>https://a.example</Origin></Origins><Methods>"
    "<Method>GET</Method></Methods><ResponseHeaders><ResponseHeader>etag</ResponseHeader>"
    "</ResponseHeaders><MaxAgeSec>60</MaxAgeSec></Cors></CorsConfig>"
)
_CORS_RULE = {
    "origin": ["https://a.example"],
    "method": ["GET"],
    "responseHeader": ["etag"],
    "maxAgeSeconds": 60,
}
_LIFECYCLE_RULE = {
    "action": {"type": "SetStorageClass", "storageClass": "NEARLINE"},
    "condition": {"age": 30, "isLive": True, "matchesPrefix": ["a/", "b/"]},
}
_VERSIONING = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


async def test_bucket_is_created_and_deleted_by_the_xml_api(cloud: StorageCloud) -> None:
    body = (
        "<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint>"
        "<StorageClass>NEARLINE</StorageClass></CreateBucketConfiguration>"
    )
    made = await cloud.client.put("/own-bucket", content=body)
    bucket = (await cloud.client.get("/storage/v1/b/own-bucket")).json()

    assert (made.status_code, bucket["location"], bucket["storageClass"]) == (200, "EU", "NEARLINE")
    assert "<LocationConstraint>EU<" in (await cloud.client.get("/own-bucket?location")).text
    assert (await cloud.client.delete("/own-bucket")).status_code == 204
    assert (await cloud.client.delete("/own-bucket")).status_code == 404


@pytest.mark.parametrize(
    ("name", "document", "value"),
    [
        ("versioning", _VERSIONING, {"enabled": True}),
        ("cors", _CORS, [_CORS_RULE]),
        ("lifecycle", _LIFECYCLE, {"rule": [_LIFECYCLE_RULE]}),
        ("storageClass", "<StorageClass>NEARLINE</StorageClass>", "NEARLINE"),
    ],
)
async def test_setting_of_xml_document_is_that_of_the_json_api(
    cloud: StorageCloud, name: str, document: str, value: Any
) -> None:
    put = await cloud.client.put(f"/{BUCKET}?{name}", content=document)

    assert put.status_code == 200, put.text
    assert (await cloud.client.get(BUCKET_PATH)).json()[name] == value
    assert (await cloud.client.get(f"/{BUCKET}?{name}")).text.endswith(f"?>{document}")


@pytest.mark.parametrize(
    ("name", "document", "text"),
    [
        ("versioning", "<x>", "MalformedXML"),
        ("versioning", "<VersioningConfiguration/>", "Status must be Enabled or Suspended"),
        ("cors", "<CORSConfiguration><CORSRule/></CORSConfiguration>", "'CORSRule'"),
        ("storageClass", "<Class>NEARLINE</Class>", "'Class' in the document"),
        ("tagging", "<Tagging><TagSet><Tag/></TagSet></Tagging>", "needs a Key of its own"),
        ("lifecycle", "<L><Rule><Status>Enabled</Status></Rule></L>", "'Status' in Rule"),
        ("lifecycle", "<L><Rule><Condition><Age>x</Age></Condition></Rule></L>", "'x' for Age"),
        ("cors", '<!DOCTYPE a [<!ENTITY b "c">]><CorsConfig>&d;</CorsConfig>', "MalformedXML"),
    ],
)
async def test_wrong_xml_document_of_setting_is_refused(
    cloud: StorageCloud, name: str, document: str, text: str
) -> None:
    refused = await cloud.client.put(f"/{BUCKET}?{name}", content=document)
    assert (refused.status_code, text in html.unescape(refused.text)) == (400, True), refused.text


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_subresource_of_s3_does_not_act_on_the_bucket(
    cloud: StorageCloud, method: str
) -> None:
    refused = await cloud.client.request(method, f"/{BUCKET}?policy")

    assert (refused.status_code, "subresource 'policy'" in refused.text) == (400, True)
    assert (await cloud.client.get(BUCKET_PATH)).status_code == 200


async def test_tags_replace_and_remove_the_labels_of_a_bucket(cloud: StorageCloud) -> None:
    await cloud.client.patch(BUCKET_PATH, json={"labels": {"old": "1"}})
    tags = "<Tagging><TagSet><Tag><Key>team</Key><Value>a</Value></Tag></TagSet></Tagging>"
    put = await cloud.client.put(f"/{BUCKET}?tagging", content=tags)

    assert (put.status_code, (await cloud.client.get(BUCKET_PATH)).json()["labels"]) == (
        200,
        {"team": "a"},
    )
    assert (await cloud.client.get(f"/{BUCKET}?tagging")).text.endswith(f"?>{tags}")
    assert (await cloud.client.delete(f"/{BUCKET}?tagging")).status_code == 204
    assert not (await cloud.client.get(BUCKET_PATH)).json().get("labels")


async def test_unfinished_uploads_are_listed_in_pages(cloud: StorageCloud) -> None:
    for name in ("b", "a", "a", "c"):
        await cloud.clock.turn(1)
        await cloud.client.post(f"/{BUCKET}/{name}?uploads")

    first = (await cloud.client.get(f"/{BUCKET}?uploads&max-uploads=2")).text
    mark = re.search("<NextUploadIdMarker>(.*)</NextUploadIdMarker>", first)
    assert mark is not None
    rest = f"key-marker=a&upload-id-marker={mark[1]}"
    second = (await cloud.client.get(f"/{BUCKET}?uploads&{rest}")).text

    assert re.findall("<Key>(.)</Key>", first) == ["a", "a"]
    assert re.findall("<Key>(.)</Key>", second) == ["b", "c"]
    assert "<IsTruncated>false" in second
    assert re.findall(
        "<Key>(.)</Key>", (await cloud.client.get(f"/{BUCKET}?uploads&prefix=c")).text
    )


async def test_list_of_uploads_goes_on_behind_one_that_has_ended(cloud: StorageCloud) -> None:
    begun = [(await cloud.client.post(f"/{BUCKET}/a?uploads")).text for _ in range(2)]
    ended, unfinished = (re.findall("<UploadId>(.*?)</UploadId>", text)[0] for text in begun)
    await cloud.client.delete(f"/{BUCKET}/a?uploadId={ended}")
    query = f"uploads&key-marker=a&upload-id-marker={ended}"
    assert unfinished in (await cloud.client.get(f"/{BUCKET}?{query}")).text
