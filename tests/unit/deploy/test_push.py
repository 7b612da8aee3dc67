"""The push of images, with a program in the place of Docker."""

from pathlib import Path

import pytest

from deploy.cli import layout_of
from deploy.errors import DeployError
from deploy.push import push


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `docker` that succeeds; return its path."""
    path = tmp_path / "docker"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return path


@pytest.fixture(autouse=True)
def _number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.google.GoogleCloud.number", "1")


def test_push_tags_and_pushes_each_image(docker: Path) -> None:
    told: list[str] = []
    push(layout_of("dev", "abc"), tell=told.append)

    place = "australia-southeast1-docker.pkg.dev/validibot-dev/dev-images"
    assert told[:2] == [
        f"docker tag validibot/validibot:0.1.0 {place}/validibot:abc",
        f"docker push --quiet {place}/validibot:abc",
    ]
    assert f"docker tag validibot/validator-fmu:0.1.0 {place}/validator-fmu:0.1.0" in told


def test_failed_push_names_image_and_next_command(docker: Path) -> None:
    docker.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(DeployError) as refused:
        push(layout_of("dev"), tell=lambda line: None)

    assert str(refused.value).startswith("image/validibot/validibot:0.1.0: `docker tag ")
    assert "(`gcloud auth configure-docker australia-southeast1-docker.pkg.dev`)" in str(
        refused.value
    )
