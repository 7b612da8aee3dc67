"""The metadata server's paths and rules."""

from typing import Any

import pytest

from devenv.gcp import metadata
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import Unavailable
from devenv.gcp.metadata import MetadataServer
from tests.unit.devenv.gcp.fakes import MemoryJournal, no_faults
from tests.unit.devenv.gcp.web import Web

EMAIL = "web@p.iam.gserviceaccount.com"
BASE = "/computeMetadata/v1"
ACCOUNTS = f"{BASE}/instance/service-accounts"


class FakeTokens:
    def id_token(self, email: str, audience: str, *, full: bool = True) -> str:
        return f"{email} {audience} {full}"

    def access_token(self, email: str, *, primary: bool) -> str:
        assert primary
        return f"token of {email}"


def quiet() -> dict[str, Any]:
    """Return a journal and faults, for a server that a test does not ask about them."""
    return {"journal": MemoryJournal(), "faults": no_faults()}


@pytest.fixture
def web() -> Web:
    config = CloudConfig(project="p", number="123456789012", region="us-west1")
    app = MetadataServer(config, FakeTokens(), {4711: EMAIL}, hosts={"gcp"}, **quiet())
    return Web(app, base="http://127.0.0.1:4711", headers={"metadata-flavor": "Google"})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/project/project-id", "p"),
        ("/project/numeric-project-id", "123456789012"),
        ("/instance/region", "projects/123456789012/regions/us-west1"),
        ("/instance/zone", "projects/123456789012/zones/us-west1-1"),
        ("/universe/universe-domain", "googleapis.com"),
        ("", "instance/\nproject/\nuniverse/\n"),
        ("/instance", "attributes/\nid\nregion\nservice-accounts/\nzone\n"),
        ("/project/", "attributes/\nnumeric-project-id\nproject-id\n"),
        ("/instance/attributes/", ""),
        ("/instance/service-accounts/", f"default/\n{EMAIL}/\n"),
        ("/instance/service-accounts/default/", "aliases\nemail\nscopes\nidentity\ntoken\n"),
        ("/project/project-id?alt=json", '"p"'),
        ("/instance/service-accounts/default/aliases?alt=json", '["default"]'),
        ("/project/?recursive=true&alt=text", "numeric-project-id 123456789012\nproject-id p\n"),
        ("/instance/service-accounts/default/email", EMAIL),
        (f"/instance/service-accounts/{EMAIL}/email", EMAIL),
        (f"/instance/service-accounts/{EMAIL.replace('@', '%40')}/email", EMAIL),
        ("/instance/service-accounts/default/aliases", "default\n"),
        (
            "/instance/service-accounts/default/scopes",
            "https://www.googleapis.com/auth/cloud-platform\n",
        ),
    ],
)
def test_value_or_listing_is_served_as_text(web: Web, path: str, text: str) -> None:
    answer = web.get(f"{BASE}{path}")

    assert (answer.status_code, answer.text) == (200, text)
    assert answer.headers["metadata-flavor"] == "Google"


def test_recursive_answers_json_with_camel_case_names(web: Web) -> None:
    account = {
        "aliases": ["default"],
        "email": EMAIL,
        "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
    }
    assert web.get(f"{ACCOUNTS}/default/?recursive=true").json() == account

    everything = web.get(f"{BASE}/?recursive=true").json()
    assert everything["project"] == {
        "attributes": {},
        "numericProjectId": 123456789012,
        "projectId": "p",
    }
    assert everything["instance"]["serviceAccounts"] == {"default": account, EMAIL: account}


def test_wait_for_change_waits_only_for_same_etag(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(metadata, "sleep", sleep)
    first = web.get(f"{BASE}/instance/id?wait_for_change=true&last_etag=0")
    assert (first.text, len(first.headers["etag"])) == ("1", 16)

    query = f"wait_for_change=true&timeout_sec=1&last_etag={first.headers['etag']}"
    assert waits == []
    assert web.get(f"{BASE}/instance/id?{query}").text == "1"
    assert waits == [1]


@pytest.mark.parametrize("query", ["alt=xml", "wait_for_change=true&timeout_sec=soon"])
def test_invalid_parameter_is_refused(web: Web, query: str) -> None:
    assert web.get(f"{BASE}/instance/id?{query}").status_code == 400


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("metadata.google.internal", 200),
        ("METADATA.google.internal:80", 200),
        ("169.254.169.254", 200),
        ("127.0.0.1:4711", 200),
        ("gcp:4711", 200),
        ("evil.example", 403),
        ("evil.example:4711", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("path", ["/", f"{ACCOUNTS}/default/token"])
def test_foreign_host_header_is_refused(web: Web, path: str, host: str, status: int) -> None:
    assert web.get(path, headers={"host": host}).status_code == status


def test_token_belongs_to_account_of_port(web: Web) -> None:
    assert web.get(f"{ACCOUNTS}/default/token?scopes=a,b").json() == {
        "access_token": f"token of {EMAIL}",
        "expires_in": 3599,
        "token_type": "Bearer",
    }


@pytest.mark.parametrize(("query", "full"), [("", False), ("&format=full", True)])
def test_identity_token_has_audience_and_format(web: Web, query: str, full: bool) -> None:
    answer = web.get(f"{ACCOUNTS}/default/identity?audience=https://a{query}")

    assert answer.text == f"{EMAIL} https://a {full}"


def test_identity_without_audience_returns_400(web: Web) -> None:
    answer = web.get(f"{ACCOUNTS}/default/identity")

    assert answer.status_code == 400
    assert answer.text.strip() == "non-empty audience parameter required"


def test_request_without_flavor_header_returns_403(web: Web) -> None:
    web.headers = {}

    assert web.get("/").headers["metadata-flavor"] == "Google"
    assert web.get(f"{BASE}/project/project-id").status_code == 403


def test_forwarded_request_returns_403(web: Web) -> None:
    answer = web.get(f"{BASE}/project/project-id", headers={"x-forwarded-for": "1.2.3.4"})

    assert answer.status_code == 403


def test_other_method_returns_405(web: Web) -> None:
    assert web.post(f"{BASE}/project/project-id").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/elsewhere",
        f"{BASE}/instance/nothing",
        f"{ACCOUNTS}/stranger@p/email",
        f"{ACCOUNTS}/default/nothing",
        f"{ACCOUNTS}/default/email/more",
        f"{BASE}/../../etc/passwd",
    ],
)
def test_unknown_path_returns_404(web: Web, path: str) -> None:
    assert web.get(path).status_code == 404


async def _find(address: str) -> str | None:
    if address == "10.0.0.9":
        raise Unavailable("No engine.")
    return {"10.0.0.2": "job@p"}.get(address)


@pytest.mark.parametrize(
    ("address", "port", "status", "text"),
    [
        ("127.0.0.1", 4711, 200, EMAIL),
        ("10.0.0.2", 4711, 200, "job@p"),
        ("10.0.0.2", 4712, 200, "job@p"),
        ("10.0.0.3", 4711, 200, EMAIL),
        ("10.0.0.3", 4712, 404, "Not Found"),
        ("10.0.0.9", 4711, 503, "No engine.\n"),
    ],
)
def test_container_is_recognised_by_address(
    address: str, port: int, status: int, text: str
) -> None:
    app = MetadataServer(CloudConfig(), FakeTokens(), {4711: EMAIL}, _find, **quiet())
    web = Web(
        app,
        base=f"http://127.0.0.1:{port}",
        headers={"metadata-flavor": "Google"},
        client=address,
    )

    answer = web.get(f"{ACCOUNTS}/default/email")

    assert (answer.status_code, answer.text) == (status, text)
