"""Tests of the development container."""

import json
import subprocess
from pathlib import Path

import pytest
from docker import DockerClient
from docker.types import Mount

from tests import engine as engines, guardian

TAG = "validibot-devcontainer:test"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The committed files, writable by the container's user."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    files = subprocess.run(
        ("git", "archive", "HEAD"), cwd=engines.ROOT, capture_output=True, check=True
    ).stdout
    subprocess.run(("tar", "-x", "-C", str(folder)), input=files, check=True)
    subprocess.run(("chmod", "-R", "a+rwX", str(folder)), check=True)
    return folder


def test_creation_commands_succeed_as_ordinary_user(engine: DockerClient, checkout: Path) -> None:
    told = json.loads((engines.ROOT / ".devcontainer/devcontainer.json").read_text())
    recipe = ".devcontainer/" + told["build"]["dockerfile"]
    engines.build("compose/build.sh", "--tag", TAG, "--file", recipe, ".devcontainer")

    container = engine.containers.run(
        TAG,
        ["sh", "-c", told["postCreateCommand"]],
        user=told["remoteUser"],
        working_dir="/workspace",
        detach=True,
        labels=guardian.labels() | {"io.validibot.test": "devcontainer"},
        environment=dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), CERTIFICATES),
        mounts=[
            Mount("/workspace", str(checkout), type="bind"),
            Mount(CERTIFICATES, CERTIFICATES, type="bind", read_only=True),
        ],
    )
    try:
        code = container.wait(timeout=500)["StatusCode"]
        log = container.logs().decode()
    finally:
        container.remove(force=True)

    assert code == 0, log
    assert "✓ energyplus" in log
