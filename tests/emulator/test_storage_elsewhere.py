"""Cloud Storage by another server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def _elsewhere(url: str) -> AsyncIterator[StorageElsewhere]:
    service = StorageElsewhere(replace(CONFIG, storage=url))
    yield service
    await service.stop()
    await asyncio.sleep(0)  # connections that are broken off close in the loop's next round


def _client(service: StorageElsewhere, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(service),
        base_url="https://storage.googleapis.com",
        headers={"Authorization": f"Bearer {token}"},
    )


@pytest.mark.anyio
async def test_requests_are_forwarded_to_the_other_server(server: Running) -> None:
    name = "a%2Fb"
    async with _elsewhere(server.url) as service, _client(service, server.token("web")) as client:
        await client.post(
            f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}", content=b"data"
        )
        answer = await client.get(f"/storage/v1/b/{BUCKET}/o/{name}?alt=media")

    assert answer.content == b"data"


@pytest.mark.anyio
async def test_unreachable_server_returns_503_with_its_address() -> None:
    async with _elsewhere("http://127.0.0.1:9") as service, _client(service, "") as client:
        answer = await client.get("/storage/v1/b")

    assert answer.status_code == 503
    assert "127.0.0.1:9 cannot be reached" in answer.json()["error"]["message"]


@pytest.mark.anyio
async def test_start_fails_if_server_is_unreachable() -> None:
    async with _elsewhere("http://127.0.0.1:9") as service:
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 does not answer"):
            await service.start()


@pytest.mark.anyio
async def test_start_fails_if_bucket_creation_is_refused(server: Running) -> None:
    async with _elsewhere(server.url) as service:
        with pytest.raises(
            Unavailable, match="answered 401 to the creation of the bucket validibot-local"
        ):
            await service.start()
