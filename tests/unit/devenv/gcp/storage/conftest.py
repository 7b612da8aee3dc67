"""Fixtures of the Cloud Storage tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.devenv.gcp.storage.cloud import StorageCloud


@pytest.fixture
async def cloud(tmp_path: Path, anyio_backend: str) -> AsyncIterator[StorageCloud]:
    cloud = StorageCloud(tmp_path)
    await cloud.start()
    yield cloud
    await cloud.service.stop()
    cloud.store.close()
