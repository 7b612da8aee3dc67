"""Connection to the engine: laziness and error messages."""

import docker
import pytest
import requests
from docker.errors import APIError, DockerException

from containers.client import Client
from containers.spec import EngineUnavailable


def failing(error: Exception) -> Client:
    def connect() -> docker.APIClient:
        raise error

    return Client(connect)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            DockerException("refused"),
            r"The container engine does not answer: start Docker .*\(refused\)",
        ),
        (requests.ReadTimeout("Read timed out."), "did not answer within 60 s"),
        (
            DockerException("('Connection aborted', PermissionError(13, 'Permission denied'))"),
            "group",
        ),
        (OSError("broken"), "The container engine does not answer"),
    ],
)
def test_connection_errors_say_what_to_do(error: Exception, sentence: str) -> None:
    with pytest.raises(EngineUnavailable, match=sentence), failing(error).api():
        pass


def test_server_error_raises_engine_unavailable() -> None:
    answer = requests.Response()
    answer.status_code = 500

    with (
        pytest.raises(EngineUnavailable, match="The container engine failed: shutting down"),
        failing(APIError("", answer, "shutting down")).api(),
    ):
        pass


def test_client_error_stays_api_error() -> None:
    with pytest.raises(APIError), failing(APIError("no")).api():
        pass


def test_connection_is_opened_lazily_and_again_after_failure() -> None:
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
