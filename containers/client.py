"""Connection to the engine, opened by the first call; its failures become EngineUnavailable."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker
import requests
import urllib3
from docker.context import ContextAPI
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

from containers.spec import EngineUnavailable

TIMEOUT = 60  # seconds for one answer: a start on a busy machine takes several
_CONNECTIONS = 256  # two for each container: one waits, one reads the log
_BROKEN = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def connect() -> docker.APIClient:
    """Connect to DOCKER_HOST or else to the current docker context, as the CLI does."""
    where = kwargs_from_env()
    if "base_url" not in where:
        context = ContextAPI.get_current_context()
        if context and context.Host:
            where["base_url"] = context.Host
    return docker.APIClient(version="auto", timeout=TIMEOUT, max_pool_size=_CONNECTIONS, **where)


class Client:
    """One connection for any number of threads."""

    def __init__(self, connect: Callable[[], docker.APIClient] = connect) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._api: docker.APIClient | None = None

    @contextmanager
    def api(self) -> Iterator[docker.APIClient]:
        """Give the API for a few calls.

        Raises EngineUnavailable if the engine does not answer, is broken or about to stop. A refused
        call stays an APIError.
        """
        try:
            with self._lock:
                if self._api is None:
                    self._api = self._connect()
            yield self._api
        except APIError as error:
            if error.is_server_error():
                raise EngineUnavailable(
                    f"The container engine failed: {error.explanation or error}. Look at `docker info`."
                ) from error
            raise
        except _BROKEN as error:
            raise EngineUnavailable(_sentence(error)) from error

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            if self._api is not None:
                self._api.close()
            self._api = None


def _sentence(error: Exception) -> str:
    text = str(error)
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return f"The container engine did not answer within {TIMEOUT} s. Look at `docker info`."
    if "Permission denied" in text:
        return (
            "This user may not use the container engine. "
            "Join its group (`sudo usermod -aG docker $USER`) and log in again."
        )
    return f"The container engine does not answer: start Docker and look at `docker info`. ({text[:300]})"
