"""Keys that are made once: each RSA key costs a tenth of a second."""

import shutil
from pathlib import Path

import pytest

from devenv.gcp.identity.keys import KeyRing


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    ring = KeyRing(folder)
    ring.secret("access-tokens")
    for name in ("id-tokens", "web@p.iam.gserviceaccount.com"):
        ring.key(name)
    return folder


@pytest.fixture
def keys(made_keys: Path, tmp_path: Path) -> Path:
    """A folder of keys for one test."""
    return Path(shutil.copytree(made_keys, tmp_path / "keys"))
