"""Tests of the base images, pulled or made here."""

import pytest
from docker import DockerClient

from devenv.environment import machine
from tests import guardian, pages


def _say(engine: DockerClient, image: str, *command: str) -> str:
    program, *arguments = command
    output: bytes = engine.containers.run(
        image, arguments, entrypoint=[program], remove=True, network_mode="none"
    )
    return output.decode().strip()


@pytest.mark.parametrize("program", ["python", "python3"])
def test_python_image_has_python_command(engine: DockerClient, program: str) -> None:
    code = "import sys; print(*sys.version_info[:2])"

    assert _say(engine, "python:3.13-slim-trixie", program, "-c", code) == "3 13"


def test_python_image_makes_environment_with_pip(engine: DockerClient) -> None:
    make = "python -m venv /tmp/v && /tmp/v/bin/pip --version && pip --version"

    assert _say(engine, "python:3.13-slim-trixie", "sh", "-ec", make).count("python 3.13") == 2


def test_postgres_image_is_version_17(engine: DockerClient) -> None:
    assert "(PostgreSQL) 17." in _say(engine, "postgres:17", "postgres", "--version")


def test_postgres_image_without_password_fails(engine: DockerClient) -> None:
    container = engine.containers.run(
        "postgres:17", detach=True, network_mode="none", labels=guardian.labels()
    )
    try:
        assert container.wait(timeout=300)["StatusCode"] != 0
        assert b"POSTGRES_PASSWORD" in container.logs()
    finally:
        container.remove(force=True, v=True)


def test_commands_of_docs_page_work(engine: DockerClient) -> None:
    done = pages.execute("docs/images.md", environ=machine())

    assert done.returncode == 0, done.stderr[-3000:]
    assert "1000:1000" in done.stdout
