"""Each test gets a Cloud Run Jobs of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.devenv.gcp.run_jobs.bench import Bench


@pytest.fixture
async def bench(anyio_backend: str) -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.service.start()
    yield bench
    await bench.service.stop()
    bench.store.close()
