"""Cloud Storage that another server provides."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from devenv.gcp.errors import Unavailable
from devenv.gcp.storage_elsewhere import StorageElsewhere
from tests.emulator.storage_server import BUCKET, CONFIG, Running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


def _elsewhere(url: str) -> StorageElsewhere:
    return StorageElsewhere(replace(CONFIG, storage=url))


def _client(service: StorageElsewhere, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(service),
        base_url="https://storage.googleapis.com",
        headers={"Authorization": f"Bearer {token}"},
    )


@pytest.mark.anyio
async def test_requests_go_there_and_answers_come_back(server: Running) -> None:
    service, name = _elsewhere(server.url), "a%2Fb"
    async with _client(service, server.token("web")) as client:
        await client.post(
            f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", content=b"data"
        )
        answer = await client.get(f"/storage/v1/b/{BUCKET}/o/{name}?alt=media")
    await service.stop()

    assert answer.content == b"data"


@pytest.mark.anyio
async def test_a_server_that_went_away_is_503_and_named() -> None:
    service = _elsewhere("http://127.0.0.1:9")
    async with _client(service, "") as client:
        answer = await client.get("/storage/v1/b")

    assert answer.status_code == 503
    assert "127.0.0.1:9 cannot be reached" in answer.json()["error"]["message"]


@pytest.mark.anyio
async def test_the_start_fails_if_nobody_answers_there() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 does not answer"):
        await _elsewhere("http://127.0.0.1:9").start()


@pytest.mark.anyio
async def test_the_start_fails_if_a_bucket_cannot_be_made(server: Running) -> None:
    with pytest.raises(Unavailable, match="does not make the bucket validibot-local: 401"):
        await _elsewhere(server.url).start()
