"""The ingress through the proxy: HTTPS to a run.app host, tokens of the metadata server."""

import hashlib
import os
from collections.abc import Iterator

import pytest
import requests

from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs
from tests.emulator.target import Worker, working
from tests.waiting import LIMIT

IDENTITY = "/computeMetadata/v1/instance/service-accounts/default/identity"


def port_of(config: CloudConfig, service: str) -> int:
    return next(each.port for each in config.services if each.name == service)


@pytest.fixture
def url(config: CloudConfig) -> str:
    return config.service_url("validibot-worker")


@pytest.fixture
def worker(config: CloudConfig) -> Iterator[Worker]:
    with working(port_of(config, "validibot-worker")) as worker:
        yield worker


def bearer(audience: str, form: str = "full") -> dict[str, str]:
    """Return the header with a token of the account that this process is."""
    metadata = os.environ["GCE_METADATA_HOST"]  # noqa: TID251 - as a workload finds it
    answer = requests.get(
        f"http://{metadata}{IDENTITY}",
        params={"audience": audience, "format": form},
        headers={"Metadata-Flavor": "Google"},
        timeout=LIMIT,
    )
    return {"Authorization": f"Bearer {answer.text}"}


@pytest.mark.parametrize("form", ["full", "standard"])
def test_invoker_passes_with_either_authorization_header(
    act_as: ActAs, worker: Worker, url: str, form: str
) -> None:
    act_as("validator-fmu")
    answer = requests.post(f"{url}/callback/", headers=bearer(url, form), data=b"x", timeout=LIMIT)

    assert answer.status_code == 200
    assert worker.next(path="/callback/").headers["host"] == url.removeprefix("https://")


def test_account_without_invoker_role_gets_403(act_as: ActAs, worker: Worker, url: str) -> None:
    act_as("web")
    answer = requests.get(f"{url}/refused/", headers=bearer(url), timeout=LIMIT)

    assert answer.status_code == 403
    assert "does not have permission to get URL <code>/refused/</code>" in answer.text
    assert not worker.has("/refused/")


def test_token_for_another_service_gets_401(
    act_as: ActAs, worker: Worker, url: str, config: CloudConfig
) -> None:
    act_as("validator-fmu")
    header = bearer(config.service_url("validibot-web"))

    assert requests.get(f"{url}/refused/", headers=header, timeout=LIMIT).status_code == 401
    assert not worker.has("/refused/")


def test_access_token_gets_401(act_as: ActAs, worker: Worker, url: str) -> None:
    act_as("validator-fmu")
    token = {"Authorization": "Bearer ya29.something"}

    assert requests.get(url, headers=token, timeout=LIMIT).status_code == 401


def test_public_service_needs_no_token(act_as: ActAs, config: CloudConfig) -> None:
    act_as("validator-fmu")
    with working(port_of(config, "validibot-web")) as web:
        answer = requests.get(config.service_url("validibot-web") + "/a?b=c", timeout=LIMIT)
        assert answer.status_code == 200
        assert web.next(path="/a?b=c").method == "GET"


def test_stopped_service_gets_503(act_as: ActAs, url: str) -> None:
    act_as("validator-fmu")

    assert requests.get(url, headers=bearer(url), timeout=LIMIT).status_code == 503


def test_fifty_megabytes_are_forwarded_unchanged(act_as: ActAs, worker: Worker, url: str) -> None:
    act_as("validator-fmu")
    body = os.urandom(1024) * 50_000
    answer = requests.put(f"{url}/large/", headers=bearer(url), data=body, timeout=LIMIT)

    assert answer.status_code == 200
    assert (
        hashlib.sha256(worker.next(path="/large/").body).digest() == hashlib.sha256(body).digest()
    )
