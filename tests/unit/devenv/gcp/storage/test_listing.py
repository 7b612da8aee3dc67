"""Lists: prefixes, delimiters, offsets and pages."""

from typing import Any

import pytest
from lxml import etree

from tests.unit.devenv.gcp.storage.cloud import (
    BUCKET,
    BUCKET_PATH,
    BUCKETS,
    OBJECTS,
    StorageCloud,
    path,
    reason,
)

pytestmark = pytest.mark.anyio

NAMES = ["a", "d/", "d/1", "d/2", "d/e/3", "d0", "z", "ä"]


@pytest.fixture
async def filled(cloud: StorageCloud) -> StorageCloud:
    for name in NAMES:
        await cloud.put(name)
    return cloud


async def listed(cloud: StorageCloud, **query: str) -> tuple[list[str], list[str]]:
    page = (await cloud.client.get(OBJECTS, params=query)).json()
    return [item["name"] for item in page.get("items", [])], page.get("prefixes", [])


@pytest.mark.parametrize(
    ("query", "items", "prefixes"),
    [
        ({}, NAMES, []),
        ({"prefix": "d/"}, NAMES[1:5], []),
        ({"delimiter": "/"}, ["a", "d0", "z", "ä"], ["d/"]),
        ({"prefix": "d/", "delimiter": "/"}, NAMES[1:4], ["d/e/"]),
        (
            {"delimiter": "/", "includeTrailingDelimiter": "true"},
            ["a", "d/", "d0", "z", "ä"],
            ["d/"],
        ),
        ({"startOffset": "d/2", "endOffset": "z"}, ["d/2", "d/e/3", "d0"], []),
        ({"prefix": "nothing"}, [], []),
        ({"prefix": "d/", "endOffset": "d/2"}, ["d/", "d/1"], []),
    ],
)
async def test_list_selects_names_and_prefixes(
    filled: StorageCloud, query: dict[str, str], items: list[str], prefixes: list[str]
) -> None:
    assert await listed(filled, **query) == (items, prefixes)


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_pages_together_hold_every_object(
    filled: StorageCloud, size: int, delimiter: str
) -> None:
    found: list[str] = []
    token = ""
    while True:
        query = {"maxResults": str(size), "pageToken": token, "delimiter": delimiter}
        page = (await filled.client.get(OBJECTS, params=query)).json()
        entries = [item["name"] for item in page.get("items", [])] + page.get("prefixes", [])
        assert len(entries) <= size
        found += entries
        if not (token := page.get("nextPageToken", "")):
            break
    assert sorted(found) == sorted(["a", "d/", "d0", "z", "ä"] if delimiter else NAMES)


async def test_pages_split_versions_of_one_object(cloud: StorageCloud) -> None:
    bucket = OBJECTS.removesuffix("/o")
    await cloud.client.patch(bucket, json={"versioning": {"enabled": True}})
    generations = [(await cloud.put("a")).json()["generation"] for _ in range(3)]
    query = {"versions": "true", "maxResults": "2"}
    first = (await cloud.client.get(OBJECTS, params=query)).json()
    query["pageToken"] = first["nextPageToken"]
    second = (await cloud.client.get(OBJECTS, params=query)).json()
    assert [item["generation"] for item in first["items"] + second["items"]] == generations


@pytest.mark.parametrize("token", ["x", "AAAA", "WzEsMl0=", "bnVsbA==", "WyJcdWQ4MDAiLDFd", "é"])
async def test_invalid_page_token_is_refused(cloud: StorageCloud, token: str) -> None:
    for url in (OBJECTS, BUCKETS.partition("?")[0]):
        query = {"pageToken": token, "project": "local-project"}
        refused = await cloud.client.get(url, params=query)
        assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_buckets_are_created_listed_and_deleted(cloud: StorageCloud) -> None:
    made = await cloud.client.post(BUCKETS, json={"name": "second", "labels": {"a": "b"}})
    assert (made.status_code, made.json()["labels"]) == (200, {"a": "b"})
    again = await cloud.client.post(BUCKETS, json={"name": "second"})
    assert (again.status_code, reason(again)) == (409, "conflict")
    names, token = [], ""
    for _ in range(2):
        query = {"maxResults": "1", "pageToken": token, "project": "local-project"}
        page = (await cloud.client.get("/storage/v1/b", params=query)).json()
        names += [bucket["name"] for bucket in page["items"]]
        token = page.get("nextPageToken", "")
    assert (names, token) == (["local-project", "second"], "")
    assert (await cloud.client.delete("/storage/v1/b/second")).status_code == 204
    assert reason(await cloud.client.get("/storage/v1/b/second")) == "notFound"


async def test_delete_refuses_bucket_with_objects(filled: StorageCloud) -> None:
    refused = await filled.client.delete(OBJECTS.removesuffix("/o"))
    assert (refused.status_code, reason(refused)) == (409, "conflict")


async def test_prefix_and_object_can_share_a_name(cloud: StorageCloud) -> None:
    await cloud.put("p")
    await cloud.put("p/q", b"inner")
    assert (await cloud.read("p/q")).content == b"inner"
    assert (await cloud.client.delete(path("p"))).status_code == 204
    assert (await listed(cloud))[0] == ["p/q"]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("", ["a.txt", "d/b.csv", "d/e/c.txt", "x[1"]),
        ("*.txt", ["a.txt"]),
        ("**.txt", ["a.txt", "d/e/c.txt"]),
        ("d/*", ["d/b.csv"]),
        ("d/**", ["d/b.csv", "d/e/c.txt"]),
        ("{a,d/e/c}.txt", ["a.txt", "d/e/c.txt"]),
        ("[a-c].txt", ["a.txt"]),
        ("[!b]?txt", ["a.txt"]),
        (r"x\[1", ["x[1"]),
        ("a,txt", []),
        ("**/*{b,c}.*", ["d/b.csv", "d/e/c.txt"]),
        ("*[!/]*[.-]*t", ["a.txt"]),
    ],
)
async def test_match_glob_selects_objects(
    cloud: StorageCloud, glob: str, expected: list[str]
) -> None:
    for name in ("a.txt", "d/b.csv", "d/e/c.txt", "x[1"):
        await cloud.put(name)
    answer = await cloud.client.get(OBJECTS, params={"matchGlob": glob})

    assert [item["name"] for item in answer.json().get("items", [])] == expected


async def test_match_glob_of_many_stars_takes_linear_time(cloud: StorageCloud) -> None:
    await cloud.put("a" * 1000)
    answer = await cloud.client.get(OBJECTS, params={"matchGlob": "*a" * 50 + "b"})

    assert answer.json() == {"kind": "storage#objects"}


async def test_match_glob_with_delimiter_selects_prefixes(cloud: StorageCloud) -> None:
    for name in ("d/a", "d/e/b", "f/c"):
        await cloud.put(name)
    answer = await cloud.client.get(OBJECTS, params={"matchGlob": "d/", "delimiter": "/"})

    assert answer.json() == {"kind": "storage#objects", "prefixes": ["d/"]}


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
async def test_boolean_parameters_ignore_case(cloud: StorageCloud, value: str) -> None:
    await cloud.client.patch(BUCKET_PATH, json={"versioning": {"enabled": True}})
    await cloud.put("d/")
    await cloud.put("d/")
    query = {"versions": value, "includeTrailingDelimiter": value, "delimiter": "/"}
    listed = (await cloud.client.get(OBJECTS, params={"versions": value})).json()
    folded = (await cloud.client.get(OBJECTS, params=query)).json()

    assert len(listed["items"]) == 2
    assert folded["items"][0]["name"] == "d/"


@pytest.mark.parametrize(
    "query",
    [
        "versions=perhaps",
        "filter=contexts",
        "matchGlob=a&delimiter=-",
        "matchGlob=" + "a" * 1025,
        "matchGlob=[z-a]",
    ],
)
async def test_unsupported_list_parameters_are_refused(cloud: StorageCloud, query: str) -> None:
    refused = await cloud.client.get(f"{OBJECTS}?{query}")

    assert (refused.status_code, reason(refused)) == (400, "invalid")
    assert query.partition("=")[0] in refused.json()["error"]["message"]


@pytest.mark.parametrize(("project", "status"), [("", 400), ("project=other", 404)])
async def test_buckets_belong_to_the_emulated_project(
    cloud: StorageCloud, project: str, status: int
) -> None:
    for method in ("GET", "POST"):
        answer = await cloud.client.request(method, f"/storage/v1/b?{project}")
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("kind", {"kind": "storage#objects"}),
        ("items(name,metadata/k)", {"items": [{"name": "a", "metadata": {"k": "v"}}]}),
        ("items/name, kind", {"kind": "storage#objects", "items": [{"name": "a"}]}),
        ("*(name)", {"kind": "storage#objects", "items": [{"name": "a"}]}),
        ("nextPageToken", {}),
    ],
)
async def test_fields_parameter_selects_parts_of_the_answer(
    cloud: StorageCloud, fields: str, expected: dict[str, object]
) -> None:
    await cloud.put("a")
    await cloud.client.patch(path("a"), json={"metadata": {"k": "v", "other": "x"}})
    answer = await cloud.client.get(OBJECTS, params={"fields": fields})

    assert answer.json() == expected


@pytest.mark.parametrize(
    "fields", ["(", "a(", "a)", "a,,b", "/a", "a b!", "a(b))", "a/", "(" * 5000, "a(" * 5000]
)
async def test_invalid_fields_parameter_is_refused(cloud: StorageCloud, fields: str) -> None:
    refused = await cloud.client.get(OBJECTS, params={"fields": fields})

    assert (refused.status_code, reason(refused)) == (400, "invalid")


def _texts(document: Any, name: str) -> list[str]:
    """Return the texts of the elements with a path, in a list of the XML API."""
    space = {"": "http://doc.s3.amazonaws.com/2006-03-01"}
    return [each.text or "" for each in document.iterfind(name, namespaces=space)]


async def xml(cloud: StorageCloud, **query: str) -> Any:
    answer = await cloud.client.get(f"/{BUCKET}", params=query)
    assert answer.status_code == 200, answer.text
    return etree.fromstring(answer.content)


@pytest.mark.parametrize(
    ("query", "items", "prefixes"),
    [
        ({}, NAMES, []),
        ({"prefix": "d/", "delimiter": "/"}, NAMES[1:4], ["d/e/"]),
        ({"marker": "d/2"}, NAMES[4:], []),
        ({"marker": "d/", "delimiter": "/"}, ["d0", "z", "ä"], []),
        ({"list-type": "2", "start-after": "z"}, ["ä"], []),
        ({"prefix": "ä", "encoding-type": "url"}, ["%C3%A4"], []),
    ],
)
async def test_xml_list_has_objects_and_prefixes(
    filled: StorageCloud, query: dict[str, str], items: list[str], prefixes: list[str]
) -> None:
    found = await xml(filled, **query)

    assert _texts(found, "Contents/Key") == items
    assert _texts(found, "CommonPrefixes/Prefix") == prefixes


@pytest.mark.parametrize("version", [{}, {"list-type": "2"}], ids=["first", "second"])
async def test_pages_of_an_xml_list_together_have_everything(
    filled: StorageCloud, version: dict[str, str]
) -> None:
    found, position = [], dict[str, str]()
    while True:
        page = await xml(filled, **version, **position, **{"max-keys": "2", "delimiter": "/"})
        found += _texts(page, "Contents/Key") + _texts(page, "CommonPrefixes/Prefix")
        if _texts(page, "IsTruncated") == ["false"]:
            break
        markers = (("NextMarker", "marker"), ("NextContinuationToken", "continuation-token"))
        position = {key: text for name, key in markers for text in _texts(page, name)}

    assert sorted(found) == ["a", "d/", "d0", "z", "ä"]


async def test_name_that_xml_cannot_carry_is_percent_encoded(cloud: StorageCloud) -> None:
    await cloud.put("a\x01")
    found = await xml(cloud)

    assert (_texts(found, "Contents/Key"), _texts(found, "EncodingType")) == (["a%01"], ["url"])
    missing = (await cloud.client.get(f"/{BUCKET}/b%01")).content
    assert "b\ufffd" in (etree.fromstring(missing).findtext("Message") or "")


async def test_xml_list_of_buckets_names_them_and_needs_the_right(cloud: StorageCloud) -> None:
    answer = await cloud.client.get("/")
    cloud.guard.denied = {"storage.buckets.list"}
    refused = await cloud.client.get("/")

    assert _texts(etree.fromstring(answer.content), "Buckets/Bucket/Name") == [BUCKET]
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("method", "query", "status", "text"),
    [
        ("GET", {"encoding-type": "x"}, 400, "encoding-type is"),
        ("GET", {"max-keys": "x"}, 400, "maxResults"),
        ("GET", {"list-type": "2", "continuation-token": "x"}, 400, "page token"),
        ("GET", {"website": ""}, 400, "'website' of the XML API is not emulated"),
        ("PUT", {}, 409, "you already own it"),
        ("DELETE", {"cors": ""}, 405, "not allowed"),
    ],
)
async def test_invalid_xml_request_for_a_bucket_is_refused(
    cloud: StorageCloud, method: str, query: dict[str, str], status: int, text: str
) -> None:
    answer = await cloud.client.request(method, f"/{BUCKET}", params=query)

    assert (answer.status_code, text in answer.text) == (status, True)
