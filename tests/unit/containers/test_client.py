"""What the engine's failures are called."""

import docker
import pytest
import requests
from docker.errors import APIError, DockerException

from containers.client import Client
from containers.errors import EngineUnavailable


def failing(error: Exception) -> Client:
    def connect() -> docker.APIClient:
        raise error

    return Client(connect)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DockerException("refused"), r"No container engine answers: start Docker .*\(refused\)"),
        (requests.ReadTimeout("Read timed out."), "did not answer within 60 s"),
        (
            DockerException("('Connection aborted', PermissionError(13, 'Permission denied'))"),
            "group",
        ),
        (OSError("broken"), "No container engine answers"),
    ],
)
def test_every_failure_is_a_sentence_that_says_what_to_do(error: Exception, sentence: str) -> None:
    with pytest.raises(EngineUnavailable, match=sentence), failing(error).api():
        pass


def test_an_engine_that_fails_is_as_one_that_is_away() -> None:
    answer = requests.Response()
    answer.status_code = 500

    with (
        pytest.raises(EngineUnavailable, match="The container engine failed: shutting down"),
        failing(APIError("", answer, "shutting down")).api(),
    ):
        pass


def test_what_the_engine_refuses_stays_what_it_is() -> None:
    with pytest.raises(APIError), failing(APIError("no")).api():
        pass


def test_a_connection_is_made_once_it_is_needed_and_again_after_a_failure() -> None:
    made: list[int] = []

    def connect() -> docker.APIClient:
        made.append(1)
        if len(made) == 1:
            raise DockerException("not yet")
        return docker.APIClient(version="1.41", base_url="unix:///nowhere")

    client = Client(connect)
    with pytest.raises(EngineUnavailable), client.api():
        pass
    with client.api() as first, client.api() as second:
        assert first is second
    assert len(made) == 2
    client.close()
