"""The image of the emulated cloud alone: by Testcontainers, and by the compose file of its page."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from testcontainers.core.config import testcontainers_config

from devenv.environment import machine
from devenv.gcp.config import CloudConfig, IamBinding
from devenv.testcontainers import IMAGE, CloudContainer
from tests import engine as engines

pytestmark = pytest.mark.xdist_group("cloud-image")
MOST_MEGABYTES = 315  # the base image is 131 MB, grpcio and Google's messages 90 MB
PROGRAM = """
import sys
from google.api_core.exceptions import PermissionDenied
from google.cloud import secretmanager, storage
blob = storage.Client().bucket(sys.argv[1]).blob("a")
blob.upload_from_string("hello")
print(blob.download_as_text())
try:
    secretmanager.SecretManagerServiceClient().list_secrets(parent="projects/my-shop")
except PermissionDenied as error:
    print(error.message)
"""


@pytest.fixture(scope="module")
def image(engine: DockerClient) -> str:
    engines.build("compose/production/cloud/build.sh")
    return IMAGE


@pytest.fixture(scope="module")
def cloud(image: str) -> Iterator[CloudContainer]:
    with pytest.MonkeyPatch.context() as patch:
        # There is no image of the reaper.
        patch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
        patch.setattr("testcontainers.core.config.testcontainers_config.ryuk_disabled", True)
        binding = IamBinding("web", "roles/storage.objectUser", "bucket/files")
        config = CloudConfig(
            project="my-shop", accounts=("other", "web"), buckets=("files",), bindings=(binding,)
        )
        with CloudContainer(config) as running:
            yield running


def _run(environ: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=machine() | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_clients_on_this_machine_use_the_container_as_an_account(cloud: CloudContainer) -> None:
    answer = _run(cloud.environ("web"), "files")

    assert answer.startswith("hello\n")
    assert "secretmanager.secrets.list" in answer


def test_unknown_account_is_refused_with_those_of_the_project(cloud: CloudContainer) -> None:
    with pytest.raises(ValueError, match="no account 'worker'; it has other, web"):
        cloud.environ("worker")


@pytest.mark.usefixtures("engine")
# The docker package leaves its connection open when a pull fails.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_missing_image_names_the_command_that_builds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)

    with pytest.raises(RuntimeError, match="Build it by `make cloud-image`"):
        CloudContainer(image="localhost:1/no-such-image:1").start()


def test_image_is_small_and_unprivileged(engine: DockerClient, image: str) -> None:
    found = engine.images.get(image).attrs

    assert found["Config"]["User"] == "1000:1000"
    assert found["Size"] < MOST_MEGABYTES * 1_000_000


def test_compose_file_of_the_page_works(image: str, tmp_path: Path) -> None:
    engines.build_validators("fmu")
    client = "validibot/validator-fmu:0.1.0"
    page = (engines.ROOT / "docs" / "cloud-image.md").read_text()
    files = dict(re.findall(r"`(\S+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL))
    for name, text in files.items():
        # An image that has the client already, in place of the reader's own.
        moved = text.replace("build: .", f"image: {client}\n    entrypoint: []")
        (tmp_path / name).write_text(moved)
        (tmp_path / name).chmod(0o644)
    compose = ["docker", "compose", "--project-name", "cloud-image-page"]

    try:
        done = subprocess.run(
            [*compose, "up", "--abort-on-container-exit", "--exit-code-from", "app"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
    finally:
        subprocess.run([*compose, "down", "--volumes"], cwd=tmp_path, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello from the emulated cloud" in done.stdout
