"""The metadata server over real ports: one identity each."""

import httpx
import pytest

from devenv.gcp import Cloud

FLAVOR = {"Metadata-Flavor": "Google"}
BASE = "/computeMetadata/v1/instance/service-accounts/default"


def get(cloud: Cloud, account: str, path: str, **headers: str) -> httpx.Response:
    url = f"http://{cloud.environ(account)['GCE_METADATA_HOST']}{path}"
    return httpx.get(url, headers=headers, trust_env=False)


@pytest.mark.parametrize("account", ["web", "worker", "validator-fmu"])
def test_each_port_serves_one_account(cloud: Cloud, account: str) -> None:
    answer = get(cloud, account, f"{BASE}/email", **FLAVOR)

    assert answer.text == f"{account}@validibot-local.iam.gserviceaccount.com"
    assert answer.headers["server"] == "Metadata Server for VM"


def test_root_answers_without_flavor_header(cloud: Cloud) -> None:
    answer = get(cloud, "web", "/")

    assert (answer.status_code, answer.headers["metadata-flavor"]) == (200, "Google")


def test_token_without_flavor_header_returns_403(cloud: Cloud) -> None:
    assert get(cloud, "web", f"{BASE}/token").status_code == 403
    assert get(cloud, "web", f"{BASE}/token", **FLAVOR).status_code == 200
