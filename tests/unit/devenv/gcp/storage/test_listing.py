"""Lists: prefixes, delimiters, offsets and pages."""

import pytest

from tests.unit.devenv.gcp.storage.cloud import BUCKET_PATH, BUCKETS, OBJECTS, Cloud, path, reason

pytestmark = pytest.mark.anyio

NAMES = ["a", "d/", "d/1", "d/2", "d/e/3", "d0", "z", "ä"]


@pytest.fixture
async def filled(cloud: Cloud) -> Cloud:
    for name in NAMES:
        await cloud.put(name)
    return cloud


async def listed(cloud: Cloud, **query: str) -> tuple[list[str], list[str]]:
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
    filled: Cloud, query: dict[str, str], items: list[str], prefixes: list[str]
) -> None:
    assert await listed(filled, **query) == (items, prefixes)


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_pages_together_hold_every_object(filled: Cloud, size: int, delimiter: str) -> None:
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


async def test_pages_split_versions_of_one_object(cloud: Cloud) -> None:
    bucket = OBJECTS.removesuffix("/o")
    await cloud.client.patch(bucket, json={"versioning": {"enabled": True}})
    generations = [(await cloud.put("a")).json()["generation"] for _ in range(3)]
    query = {"versions": "true", "maxResults": "2"}
    first = (await cloud.client.get(OBJECTS, params=query)).json()
    query["pageToken"] = first["nextPageToken"]
    second = (await cloud.client.get(OBJECTS, params=query)).json()
    assert [item["generation"] for item in first["items"] + second["items"]] == generations


@pytest.mark.parametrize("token", ["x", "AAAA", "WzEsMl0=", "bnVsbA==", "WyJcdWQ4MDAiLDFd", "é"])
async def test_invalid_page_token_is_refused(cloud: Cloud, token: str) -> None:
    for url in (OBJECTS, BUCKETS.partition("?")[0]):
        query = {"pageToken": token, "project": "local-project"}
        refused = await cloud.client.get(url, params=query)
        assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_buckets_are_created_listed_and_deleted(cloud: Cloud) -> None:
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


async def test_delete_refuses_bucket_with_objects(filled: Cloud) -> None:
    refused = await filled.client.delete(OBJECTS.removesuffix("/o"))
    assert (refused.status_code, reason(refused)) == (409, "conflict")


async def test_prefix_and_object_can_share_a_name(cloud: Cloud) -> None:
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
    ],
)
async def test_match_glob_selects_objects(cloud: Cloud, glob: str, expected: list[str]) -> None:
    for name in ("a.txt", "d/b.csv", "d/e/c.txt", "x[1"):
        await cloud.put(name)
    answer = await cloud.client.get(OBJECTS, params={"matchGlob": glob})

    assert [item["name"] for item in answer.json().get("items", [])] == expected


async def test_match_glob_with_delimiter_selects_prefixes(cloud: Cloud) -> None:
    for name in ("d/a", "d/e/b", "f/c"):
        await cloud.put(name)
    answer = await cloud.client.get(OBJECTS, params={"matchGlob": "d/", "delimiter": "/"})

    assert answer.json() == {"kind": "storage#objects", "prefixes": ["d/"]}


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
async def test_boolean_parameters_ignore_case(cloud: Cloud, value: str) -> None:
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
async def test_unsupported_list_parameters_are_refused(cloud: Cloud, query: str) -> None:
    refused = await cloud.client.get(f"{OBJECTS}?{query}")

    assert (refused.status_code, reason(refused)) == (400, "invalid")
    assert query.partition("=")[0] in refused.json()["error"]["message"]


@pytest.mark.parametrize(("project", "status"), [("", 400), ("project=other", 404)])
async def test_buckets_belong_to_the_emulated_project(
    cloud: Cloud, project: str, status: int
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
    cloud: Cloud, fields: str, expected: dict[str, object]
) -> None:
    await cloud.put("a")
    await cloud.client.patch(path("a"), json={"metadata": {"k": "v", "other": "x"}})
    answer = await cloud.client.get(OBJECTS, params={"fields": fields})

    assert answer.json() == expected


@pytest.mark.parametrize(
    "fields", ["(", "a(", "a)", "a,,b", "/a", "a b!", "a(b))", "a/", "(" * 5000, "a(" * 5000]
)
async def test_invalid_fields_parameter_is_refused(cloud: Cloud, fields: str) -> None:
    refused = await cloud.client.get(OBJECTS, params={"fields": fields})

    assert (refused.status_code, reason(refused)) == (400, "invalid")
