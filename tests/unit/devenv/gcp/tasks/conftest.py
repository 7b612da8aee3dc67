"""Each test gets a Cloud Tasks of its own."""

from collections.abc import Iterator

import pytest

from tests.unit.devenv.gcp.tasks.cloud import Cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    yield cloud
    cloud.store.close()
