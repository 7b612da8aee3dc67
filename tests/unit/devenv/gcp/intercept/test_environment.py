"""The variables that lead a process to the emulated cloud."""

from pathlib import Path

import pytest

from devenv.gcp.intercept.environment import environ
from devenv.gcp.intercept.hosts import Hosts

VARIABLES = environ(
    project="p",
    proxy="http://127.0.0.1:1",
    bundle=Path("/b.pem"),
    metadata="127.0.0.1:2",
    gcloud=Path("/g"),
)


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"])
def test_the_proxy_is_named_in_both_cases(name: str) -> None:
    assert VARIABLES[name] == "http://127.0.0.1:1"


def test_this_machine_and_the_metadata_server_are_reached_directly() -> None:
    direct = VARIABLES["NO_PROXY"].split(",")

    assert VARIABLES["no_proxy"] == VARIABLES["NO_PROXY"]
    assert {"127.0.0.1", "localhost", ".google.internal"} <= set(direct)


@pytest.mark.parametrize(
    "name",
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "CURL_CA_BUNDLE"],
)
def test_every_client_is_told_the_bundle_in_its_own_way(name: str) -> None:
    assert VARIABLES[name] == "/b.pem"


@pytest.mark.parametrize("name", ["HOST", "IP", "ROOT"])
def test_the_metadata_server_is_named_three_times(name: str) -> None:
    assert VARIABLES[f"GCE_METADATA_{name}"] == "127.0.0.1:2"


def test_the_developers_own_credentials_are_out_of_reach() -> None:
    assert VARIABLES["GOOGLE_APPLICATION_CREDENTIALS"] == ""
    assert VARIABLES["CLOUDSDK_CONFIG"] == "/g"


@pytest.mark.parametrize(
    ("host", "emulated", "passed"),
    [
        ("run.googleapis.com", True, False),
        ("us-west1-run.googleapis.com", True, False),
        ("x-1.us-west1.run.app", True, False),
        ("ACCOUNTS.google.com", True, False),
        ("googleapis.com.evil.example", False, False),
        ("localhost", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("api.friend.example", False, True),
        ("example.com", False, False),
        ("", False, False),
    ],
)
def test_hosts_are_emulated_passed_or_refused(host: str, emulated: bool, passed: bool) -> None:
    hosts = Hosts(["*.friend.example"])

    assert (hosts.emulated(host), hosts.passed(host)) == (emulated, passed)


def test_a_refusal_says_how_to_allow_the_host() -> None:
    assert 'put "example.com" in gcp.allow_hosts of devenv.toml' in Hosts([]).refusal("example.com")


def test_behind_a_closed_proxy_this_machine_is_out_of_reach() -> None:
    hosts = Hosts(("example.com",), loopback=False)

    assert not hosts.passed("127.0.0.1")
    assert not hosts.passed("localhost")
    assert hosts.passed("example.com")


def test_a_metadata_server_elsewhere_is_asked_without_the_proxy() -> None:
    variables = environ(
        project="p", proxy="http://gcp:1", bundle=Path("/b"), metadata="gcp:2", gcloud=Path("/g")
    )

    assert variables["no_proxy"].endswith(",gcp")
    assert variables["NO_PROXY"] == variables["no_proxy"]
