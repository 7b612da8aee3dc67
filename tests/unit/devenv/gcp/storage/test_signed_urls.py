"""Signed URLs and the XML API."""

import base64
import hashlib
import time
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import pytest

from tests.unit.devenv.gcp.storage.cloud import BUCKET, StorageCloud, sign

pytestmark = pytest.mark.anyio

SIGNER = "web@p.iam.gserviceaccount.com"
NOTHING: Mapping[str, str] = {}
KNOWN = (
    "X-Goog-Signature=00&X-Goog-Algorithm=GOOG4-RSA-SHA256"
    f"&X-Goog-Credential={SIGNER}/20260101/auto/storage/goog4_request"
)


def signed(
    cloud: StorageCloud,
    method: str,
    name: str,
    headers: Mapping[str, str] = NOTHING,
    extra: Mapping[str, str] = NOTHING,
) -> str:
    """Sign a URL by Google's description of canonical requests."""
    all_headers = {"host": "storage.googleapis.com", **headers}
    names = ";".join(sorted(all_headers))
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(cloud.clock.now()))
    scope = f"{stamp[:8]}/auto/storage/goog4_request"
    query = {
        "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
        "X-Goog-Credential": f"{SIGNER}/{scope}",
        "X-Goog-Date": stamp,
        "X-Goog-Expires": "60",
        "X-Goog-SignedHeaders": names,
        **extra,
    }
    text = "&".join(f"{key}={quote(query[key], safe='~')}" for key in sorted(query))
    path = f"/{BUCKET}/{quote(name, safe='/~')}"
    lines = "".join(f"{key}:{all_headers[key]}\n" for key in sorted(all_headers))
    canonical = f"{method}\n{path}\n{text}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    payload = f"GOOG4-RSA-SHA256\n{stamp}\n{scope}\n{digest}"
    return f"{path}?{text}&X-Goog-Signature={sign(SIGNER, payload.encode()).hex()}"


async def test_signed_url_needs_no_token(cloud: StorageCloud) -> None:
    await cloud.put("dir/ä b~c")
    response = await cloud.without_token("GET", signed(cloud, "GET", "dir/ä b~c"))
    assert (response.status_code, response.content) == (200, b"data")


async def test_signed_url_expires(cloud: StorageCloud) -> None:
    await cloud.put("a")
    url = signed(cloud, "GET", "a")
    await cloud.clock.turn(59)
    assert (await cloud.without_token("GET", url)).status_code == 200
    await cloud.clock.turn(1)
    expired = await cloud.without_token("GET", url)
    assert expired.status_code == 400
    assert b"<Code>ExpiredToken</Code>" in expired.content


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("X-Goog-Expires=60", "X-Goog-Expires=600"),
        (f"/{BUCKET}/a", f"/{BUCKET}/b"),
        ("&X-Goog-Signature=", "&generation=1&X-Goog-Signature="),
        ("X-Goog-Signature=", "X-Goog-Signature=00"),
        ("X-Goog-Signature=", "X-Goog-Signature=zz"),
        ("web%40", "worker%40"),
    ],
)
async def test_changed_signed_url_is_refused(cloud: StorageCloud, before: str, after: str) -> None:
    await cloud.put("a")
    url = signed(cloud, "GET", "a")
    assert before in url
    refused = await cloud.without_token("GET", url.replace(before, after))
    assert refused.status_code == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in refused.content


@pytest.mark.parametrize(
    "broken",
    [
        "X-Goog-Signature=00",
        "X-Goog-Signature=00&X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=x",
        f"{KNOWN}&X-Goog-Date=%00",
        f"{KNOWN}&X-Goog-Date=20260101T000000Z&X-Goog-Expires=604801",
        f"{KNOWN}&X-Goog-Date=20990101T000000Z&X-Goog-Expires=60",
    ],
)
async def test_incomplete_signature_is_refused(cloud: StorageCloud, broken: str) -> None:
    refused = await cloud.without_token("GET", f"/{BUCKET}/a?{broken}")
    assert refused.status_code == 400
    assert b"<Error><Code>InvalidArgument</Code>" in refused.content


async def test_signed_url_is_bound_to_its_method(cloud: StorageCloud) -> None:
    await cloud.put("a")
    assert (await cloud.without_token("DELETE", signed(cloud, "GET", "a"))).status_code == 403
    assert (await cloud.without_token("DELETE", signed(cloud, "DELETE", "a"))).status_code == 204


async def test_unsigned_goog_headers_are_refused(cloud: StorageCloud) -> None:
    headers = {"x-goog-meta-k": "v"}
    refused = await cloud.without_token("PUT", signed(cloud, "PUT", "a"), headers=headers)
    assert refused.status_code == 400
    assert b"<Code>MalformedSecurityHeader</Code>" in refused.content


async def test_signed_url_has_the_rights_of_its_signer(cloud: StorageCloud) -> None:
    cloud.guard.denied.add("storage.objects.get")
    assert (await cloud.without_token("GET", signed(cloud, "GET", "a"))).status_code == 403


async def test_signed_url_uploads_an_object(cloud: StorageCloud) -> None:
    headers = {"content-type": "text/csv", "x-goog-meta-k": "v", "x-goog-if-generation-match": "0"}
    url = signed(cloud, "PUT", "a", headers)
    put = await cloud.without_token("PUT", url, content=b"1,2", headers=headers)
    again = await cloud.without_token("PUT", url, content=b"3,4", headers=headers)
    assert (put.status_code, again.status_code) == (200, 412)
    item = (await cloud.get("a")).json()
    assert (item["contentType"], item["metadata"]) == ("text/csv", {"k": "v"})


async def test_signed_url_sets_response_headers(cloud: StorageCloud) -> None:
    await cloud.put("a")
    disposition = {"response-content-disposition": 'attachment; filename="b.csv"'}
    response = await cloud.without_token("GET", signed(cloud, "GET", "a", extra=disposition))
    assert response.headers["content-disposition"] == 'attachment; filename="b.csv"'


async def test_signed_url_begins_resumable_upload(cloud: StorageCloud) -> None:
    headers = {"x-goog-resumable": "start"}
    begun = await cloud.without_token("POST", signed(cloud, "POST", "a", headers), headers=headers)
    assert begun.status_code == 201
    session = begun.headers["location"]
    assert (await cloud.without_token("PUT", session, content=b"all")).status_code == 200
    assert (await cloud.read("a")).content == b"all"


async def test_bucket_host_serves_objects(cloud: StorageCloud) -> None:
    await cloud.put("dir/a")
    url = f"http://{BUCKET}.storage.googleapis.com/dir/a"
    assert (await cloud.client.get(url)).content == b"data"
    head = await cloud.client.head(url)
    assert (head.headers["content-length"], head.content) == ("4", b"")


def signed_v2(
    cloud: StorageCloud,
    method: str,
    name: str,
    headers: Mapping[str, str] = NOTHING,
    extra: str = "",
) -> str:
    """Sign a URL by Google's description of version 2."""
    expires = int(cloud.clock.now()) + 60
    lines = "".join(f"{key}:{headers[key]}\n" for key in sorted(headers) if key[:2] == "x-")
    kind = headers.get("content-type", "")
    path = f"/{BUCKET}/{quote(name, safe='/~')}"
    payload = f"{method}\n\n{kind}\n{expires}\n{lines}{path}{extra}"
    signature = base64.b64encode(sign(SIGNER, payload.encode())).decode()
    query = {"GoogleAccessId": SIGNER, "Expires": str(expires), "Signature": signature}
    return f"{path}?{urlencode(query)}{'&' + extra[1:] if extra else ''}"


@pytest.mark.parametrize("extra", ["", "?x=1"])
async def test_v2_signed_url_needs_no_token(cloud: StorageCloud, extra: str) -> None:
    await cloud.put("dir/ä b~c")
    url = signed_v2(cloud, "GET", "dir/ä b~c", extra=extra)

    assert (await cloud.without_token("GET", url)).content == b"data"
    await cloud.clock.turn(60)
    assert "ExpiredToken" in (await cloud.without_token("GET", url)).text


async def test_v2_signed_upload_is_bound_to_its_headers(cloud: StorageCloud) -> None:
    headers = {"content-type": "text/plain", "x-goog-meta-a": "1"}
    url = signed_v2(cloud, "PUT", "a", headers)
    other = {**headers, "x-goog-meta-a": "2"}

    assert (await cloud.without_token("PUT", url, headers=headers)).status_code == 200
    assert (await cloud.without_token("PUT", url, headers=other)).status_code == 403


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (f"/{BUCKET}/a", f"/{BUCKET}/b", 403),
        ("Expires=1", "Expires=2", 403),
        ("Signature=", "Signature=AA", 403),
        ("Signature=", "Other=", 403),
        ("GoogleAccessId=web", "GoogleAccessId=job", 403),
        ("GoogleAccessId=", "Other=", 400),
        ("Expires=", "Other=", 400),
    ],
)
async def test_changed_v2_signed_url_is_refused(
    cloud: StorageCloud, old: str, new: str, status: int
) -> None:
    cloud.guard.public = True
    await cloud.put("a")
    await cloud.put("b")
    url = signed_v2(cloud, "GET", "a").replace(old, new)

    assert (await cloud.without_token("GET", url)).status_code == status
