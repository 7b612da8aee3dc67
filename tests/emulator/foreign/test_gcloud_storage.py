"""`gcloud storage` against the emulated cloud."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devenv.environment import machine
from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed"),
]

type Gcloud = Callable[..., str]


@pytest.fixture
def gcloud(cloud: Cloud) -> Gcloud:
    """Run `gcloud storage` as the administrator and return what it prints."""
    environ = dict(machine()) | cloud.environ("admin")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["gcloud", "storage", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def folder(config: CloudConfig) -> str:
    return f"gs://{config.buckets[0]}/gcloud-{os.urandom(6).hex()}"


def test_gcloud_copies_a_large_file_there_and_back(
    gcloud: Gcloud, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(40 * 1024 * 1024))
    gcloud("cp", str(tmp_path / "large"), f"{folder}/large")
    gcloud("cp", f"{folder}/large", str(tmp_path / "back"))

    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_gcloud_copies_moves_lists_and_removes_trees(
    gcloud: Gcloud, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_text("a")
    (tmp_path / "tree" / "sub" / "b").write_text("b")
    gcloud("cp", "-r", str(tmp_path / "tree"), f"{folder}/one")
    gcloud("cp", "-r", f"{folder}/one", f"{folder}/two")
    gcloud("mv", f"{folder}/one/a", f"{folder}/moved")
    gcloud("rm", "-r", f"{folder}/one")
    names = gcloud("ls", "-r", f"{folder}/**").split()

    assert [name.removeprefix(f"{folder}/") for name in names] == ["moved", "two/a", "two/sub/b"]
