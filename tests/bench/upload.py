"""Memory of the web service during uploads of 1 GB, by the API and by the page.

The file is sent as it is made, a block at a time. The figure is the most that the process that serves
requests ever had in memory (`VmHWM`, which is begun anew before each upload).
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.bench.load import family
from tests.bench.memory import peak

type Row = tuple[str, str, str]

SIZE = 1024**3
# With its form the upload is a little larger than the file.
LIMIT = SIZE + 1024**2
WORKFLOW = "equipment-list-schema"
_BLOCK = b" " * 65_536
_BOUNDARY = "end-of-part"


def measure(status: dict[str, Any]) -> Iterator[Row]:
    """Upload to a stack that takes files of `LIMIT`; yield the peak of the memory of each way."""
    web, org = status["urls"]["web"], status["org"]
    pids = family(status["services"]["web"]["pid"])
    key = {"Authorization": f"Bearer {status['api_key']}"}
    api = f"/api/v1/orgs/{org}/workflows/{WORKFLOW}/runs/"
    with httpx.Client(base_url=web, timeout=600) as client:
        page = f"/app/orgs/{org}/workflows/{WORKFLOW}/"
        token = _sign_in(client, status["login"])
        for title, path, headers, fields in (
            ("the API, raw body", api, key | {"X-Filename": "large.xml"}, None),
            ("the API, form", api, key, {}),
            ("the page", page, {"Referer": web + page}, {"csrfmiddlewaretoken": token}),
        ):
            for pid in pids:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            started = time.perf_counter()
            answer = _send(client, path, headers, fields)
            seconds = time.perf_counter() - started
            assert answer.status_code in (202, 302), (answer.status_code, answer.text[:500])
            most = max(map(peak, pids))
            yield (
                f"1 GB by {title}: peak memory of `web`",
                f"{most:.0f} MB, {seconds:.0f} s",
                "≤ 256 MB",
            )


def _send(
    client: httpx.Client, path: str, headers: dict[str, str], fields: dict[str, str] | None
) -> httpx.Response:
    """Post the file as the body, or as a part of a form with further `fields`."""
    begin, end, kind = b"", b"", "application/octet-stream"
    if fields is not None:
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        parts = [
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        parts.append(
            f"--{_BOUNDARY}\r\nContent-Disposition: form-data;"
            ' name="file"; filename="large.xml"\r\nContent-Type: application/xml\r\n\r\n'
        )
        begin, end = "".join(parts).encode(), f"\r\n--{_BOUNDARY}--\r\n".encode()
    length = str(len(begin) + SIZE + len(end))
    return client.post(
        path,
        content=_blocks(begin, end),
        headers=headers | {"Content-Type": kind, "Content-Length": length},
    )


def _blocks(begin: bytes, end: bytes) -> Iterator[bytes]:
    yield begin
    yield from (_BLOCK for _ in range(SIZE // len(_BLOCK)))
    yield end


def _sign_in(client: httpx.Client, login: dict[str, str]) -> str:
    """Sign in as the demo user; return the token of forms."""
    client.get("/accounts/login/")
    form = {
        "login": login["email"],
        "password": login["password"],
        "csrfmiddlewaretoken": client.cookies["csrftoken"],
    }
    client.post("/accounts/login/", data=form, headers={"Referer": str(client.base_url)})
    return client.cookies["csrftoken"]
