"""The environment variables of client processes, and the hosts of the proxy."""

import json
from pathlib import Path

import pytest

from devenv.gcp.intercept.endpoints import environ
from devenv.gcp.intercept.router import Hosts

VARIABLES = environ(
    project="p",
    proxy="http://127.0.0.1:1",
    bundle=Path("/b.pem"),
    metadata="127.0.0.1:2",
    gcloud=Path("/g"),
)


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"])
def test_proxy_variables_exist_in_both_cases(name: str) -> None:
    assert VARIABLES[name] == "http://127.0.0.1:1"


def test_loopback_and_metadata_server_bypass_the_proxy() -> None:
    direct = VARIABLES["NO_PROXY"].split(",")

    assert VARIABLES["no_proxy"] == VARIABLES["NO_PROXY"]
    assert {"127.0.0.1", "localhost", ".google.internal"} <= set(direct)


@pytest.mark.parametrize(
    "name",
    [
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "CURL_CA_BUNDLE",
        "AWS_CA_BUNDLE",
        "HTTPLIB2_CA_CERTS",
    ],
)
def test_bundle_has_a_variable_for_every_client(name: str) -> None:
    assert VARIABLES[name] == "/b.pem"


def test_programs_that_read_no_variable_of_a_proxy_are_told_to() -> None:
    assert VARIABLES["NODE_USE_ENV_PROXY"] == "1"
    assert json.loads(VARIABLES["FSSPEC_GCS"])["session_kwargs"] == {"trust_env": True}


def test_java_has_properties_for_proxy_and_trust_store() -> None:
    options = VARIABLES["JAVA_TOOL_OPTIONS"].split(" -D")

    assert {"https.proxyHost=127.0.0.1", "https.proxyPort=1"} <= set(options)
    assert options[0] == '-Djavax.net.ssl.trustStore="/b.p12"'
    assert options[-1].startswith("http.nonProxyHosts=127.0.0.1|localhost|[::1]|*.localhost|")


@pytest.mark.parametrize("name", ["HOST", "IP", "ROOT"])
def test_metadata_server_has_three_variables(name: str) -> None:
    assert VARIABLES[f"GCE_METADATA_{name}"] == "127.0.0.1:2"


def test_credentials_of_the_developer_are_hidden() -> None:
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
def test_host_is_emulated_allowed_or_refused(host: str, emulated: bool, passed: bool) -> None:
    hosts = Hosts(["*.friend.example"])

    assert (hosts.emulated(host), hosts.passed(host)) == (emulated, passed)


def test_refusal_names_the_setting_that_allows_the_host() -> None:
    assert 'put "example.com" in gcp.allow_hosts of devenv.toml' in Hosts([]).refusal("example.com")


def test_closed_proxy_refuses_loopback() -> None:
    hosts = Hosts(("example.com",), loopback=False)

    assert not hosts.passed("127.0.0.1")
    assert not hosts.passed("localhost")
    assert hosts.passed("example.com")


def test_remote_metadata_server_bypasses_the_proxy() -> None:
    variables = environ(
        project="p", proxy="http://gcp:1", bundle=Path("/b"), metadata="gcp:2", gcloud=Path("/g")
    )

    assert variables["no_proxy"].endswith(",gcp")
    assert variables["NO_PROXY"] == variables["no_proxy"]
