"""Cloud Storage, killed in the middle of writes."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import httpx
import pytest

from tests.emulator.storage_server import BUCKET, Running
from tests.waiting import LIMIT

NAMES = [f"name-{index}" for index in range(4)]
KIB256 = 256 * 1024


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


@pytest.fixture
def session(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=LIMIT) as session:
        session.headers["authorization"] = f"Bearer {running.token('web')}"
        yield session


def test_kill_leaves_the_old_or_the_new_object(running: Running, session: httpx.Client) -> None:
    sent: dict[str, bytes | None] = {}
    done: dict[str, bytes | None] = {}
    for turn in range(3):
        with running:
            for name in NAMES:
                found = _read(session, running.url, name)
                assert found in (sent.get(name), done.get(name))
                sent[name] = done[name] = found
            killer = Timer(0.3 + turn * 0.05, running.process.kill)
            killer.start()
            with suppress(httpx.TransportError):
                for count in range(100_000):
                    name, data = NAMES[count % 4], f"{turn} {count}".encode() * 5000
                    sent[name] = data
                    _write(session, running.url, name, data)
                    done[name] = data
            killer.join()


def test_resumable_upload_continues_after_kill(running: Running, session: httpx.Client) -> None:
    url = f"{running.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name=a"
    with running:
        upload = session.post(url).headers["location"]
        _put(session, upload, b"x" * KIB256, f"bytes 0-{KIB256 - 1}/*")
    with running:
        status = _put(session, upload, b"", "bytes */*")
        assert (status.status_code, status.headers["range"]) == (308, f"bytes=0-{KIB256 - 1}")
        last = f"bytes {KIB256}-{KIB256}/{KIB256 + 1}"
        assert _put(session, upload, b"y", last).status_code == 200
        assert _read(session, running.url, "a") == b"x" * KIB256 + b"y"


def _write(session: httpx.Client, url: str, name: str, data: bytes) -> None:
    params = {"uploadType": "media", "name": name}
    url = f"{url}/upload/storage/v1/b/{BUCKET}/o"
    session.post(url, content=data, params=params).raise_for_status()


def _put(session: httpx.Client, url: str, data: bytes, content_range: str) -> httpx.Response:
    headers = {"content-range": content_range}
    return session.put(url, content=data, headers=headers)


def _read(session: httpx.Client, url: str, name: str) -> bytes | None:
    """Return an object's bytes; None if there is no such object."""
    url = f"{url}/storage/v1/b/{BUCKET}/o/{name}"
    answer = session.get(url, params={"alt": "media"})
    return None if answer.status_code == 404 else answer.content
