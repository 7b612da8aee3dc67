"""Each test gets a Cloud Tasks of its own."""

from collections.abc import Iterator

import pytest

from tests.unit.devenv.gcp.tasks.cloud import TasksBench


@pytest.fixture
def cloud() -> Iterator[TasksBench]:
    cloud = TasksBench()
    yield cloud
    cloud.store.close()
