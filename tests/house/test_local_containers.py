"""The page about local containers and the code agree."""

from tests.house.test_docs import _column
from validibot.runs.backends.docker.backend import DockerOptions


def test_page_lists_every_option_of_docker_backend() -> None:
    described = _column("modes/local-containers.md", table="option", column="option")

    assert described == set(DockerOptions.model_fields)
