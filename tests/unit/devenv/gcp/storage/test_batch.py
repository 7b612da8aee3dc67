"""Batch requests."""

import email

import pytest

from devenv.gcp.faults import Fault
from devenv.gcp.storage.service import METHODS
from tests.unit.devenv.gcp.storage.cloud import BUCKET, StorageCloud, path, reason

pytestmark = pytest.mark.anyio

HEADERS = {"content-type": "multipart/mixed; boundary=b"}


def part(line: str, body: str = "", end: str = "\r\n") -> str:
    head = ["--b", "Content-Type: application/http", "Content-ID: <7>", "", line]
    return end.join([*head, "Content-Type: application/json", "", body, ""])


async def send(
    cloud: StorageCloud, *parts: str, url: str = "/batch/storage/v1"
) -> list[tuple[str, str]]:
    """Return the Content-ID and the text of each part of the answer."""
    response = await cloud.client.post(url, content="".join(parts) + "--b--\r\n", headers=HEADERS)
    assert response.status_code == 200, response.text
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n"
    message = email.message_from_string(head + response.text)
    return [(str(m["Content-ID"]), str(m.get_payload())) for m in message.walk() if m["Content-ID"]]


@pytest.mark.parametrize("end", ["\r\n", "\n"])
async def test_batch_answers_each_call_in_order(cloud: StorageCloud, end: str) -> None:
    await cloud.put("a/b")
    patch = part(f"PATCH http://x{path('a/b')} HTTP/1.1", '{"metadata": {"k": "v"}}', end)
    delete = part(f"DELETE {path('missing')}?generation=1 HTTP/1.1", end=end)
    (first, patched), (_, missing) = await send(cloud, patch, delete)
    assert first == "<response-7>"
    assert patched.startswith("HTTP/1.1 200 OK")
    assert '"metadata":{"k":"v"}' in patched
    assert missing.startswith("HTTP/1.1 404 Not Found")


async def test_fault_strikes_one_call_of_a_batch(cloud: StorageCloud) -> None:
    cloud.faults.know(dict.fromkeys(METHODS, ("*",)))
    for name in "ab":
        await cloud.put(name)
    struck = f"*/{BUCKET}/o/a"
    cloud.faults.add(Fault(method="storage.objects.delete", resource=struck, status=429))
    cloud.faults.add(Fault(method="storage.objects.get", lose_answer=True))
    lines = [f"DELETE {path(name)} HTTP/1.1" for name in "ab"]
    deletes = await send(cloud, *map(part, lines))
    ((_, lost),) = await send(cloud, part(f"GET {path('a')} HTTP/1.1"))

    statuses = [text.split()[1] for _, text in deletes]
    assert (statuses, lost.split()[1]) == (["429", "204"], "503")
    rows = cloud.journal.rows({"method": "storage.objects.delete"})
    assert [(row["status"], row["fault"], row["caller"]) for row in rows] == [
        ("204", "", "good"),
        ("429", "1", "good"),
    ]


async def test_batch_honours_preconditions(cloud: StorageCloud) -> None:
    await cloud.put("a")
    ((_, answer),) = await send(cloud, part(f"DELETE {path('a')}?ifGenerationMatch=1 HTTP/1.1"))
    assert answer.startswith("HTTP/1.1 412")


@pytest.mark.parametrize(
    "line",
    [
        f"GET {path('a')}?alt=media HTTP/1.1",
        f"POST /upload/storage/v1/b/{BUCKET}/o HTTP/1.1",
        "GET http://[ HTTP/1.1",
        "POST /batch/storage/v1 HTTP/1.1",
    ],
)
async def test_batch_refuses_media(cloud: StorageCloud, line: str) -> None:
    ((_, answer),) = await send(cloud, part(line))
    assert answer.startswith("HTTP/1.1 400")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/mixed; boundary=b", b""),
        ("multipart/mixed; boundary=b", b"--b\r\n\r\nnonsense\r\n--b--"),
        ("multipart/mixed", b"--b--"),
        ("text/plain", b"x"),
        ("multipart/mixed; boundary=b", b"\xff" * 100),
        ("multipart/mixed; boundary=b", b"--b\n\n\n" * 1001),
    ],
)
async def test_invalid_batch_is_refused(
    cloud: StorageCloud, content_type: str, body: bytes
) -> None:
    headers = {"content-type": content_type}
    refused = await cloud.client.post("/batch/storage/v1", content=body, headers=headers)
    assert (refused.status_code, reason(refused)) == (400, "invalid")


async def test_calls_of_a_batch_belong_to_its_trace(cloud: StorageCloud) -> None:
    cloud.client.headers["traceparent"] = f"00-{'ab' * 16}-{'1' * 16}-01"
    own = f"GET {path('b')} HTTP/1.1\r\nx-cloud-trace-context: {'cd' * 16}/1"
    await send(cloud, part(f"GET {path('a')} HTTP/1.1"), part(own))

    rows = cloud.journal.rows({"method": "storage.objects.get"})
    assert [row["trace"] for row in rows] == ["cd" * 16, "ab" * 16]
