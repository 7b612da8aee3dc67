"""The Docker engine of this machine, and the images that tests run in it."""

import subprocess
from pathlib import Path

import docker
import pytest
from docker import DockerClient
from docker.errors import DockerException

from devenv.environment import machine

ROOT = Path(__file__).parents[1]
STANDIN = "validibot-standin:test"


def connect() -> DockerClient:
    """Skips the test where no engine answers; in CI that is a failure."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        reason = f"no Docker engine answers ({error}): compose/offline/engine.sh starts one"
        if machine().get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return client


def build(*command: str) -> str:
    """Run a build script of this repository; it is quick when nothing has changed."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        hint = "Where no registry is reached, say first: make images-offline"
        pytest.fail(f"{' '.join(command)}\n{done.stderr[-3000:]}\n{hint}", pytrace=False)
    return done.stdout


def build_validators(*names: str) -> None:
    build("compose/production/validator/build.sh", *names)


def build_standin() -> str:
    build("compose/build.sh", "--tag", STANDIN, "--file", "tests/standin/Dockerfile", ".")
    return STANDIN
