"""The emulated cloud runs in one asyncio loop; so do its tests."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
