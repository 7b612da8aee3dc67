"""Each test gets a Secret Manager of its own."""

import pytest

from tests.unit.devenv.gcp.secret_manager.cloud import SecretBench


@pytest.fixture
def cloud() -> SecretBench:
    return SecretBench()
