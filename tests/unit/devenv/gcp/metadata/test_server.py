"""The metadata server's paths and rules."""

import pytest

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import Unavailable
from devenv.gcp.metadata.server import MetadataServer
from tests.unit.devenv.gcp.web import Web

EMAIL = "web@p.iam.gserviceaccount.com"
BASE = "/computeMetadata/v1"
ACCOUNTS = f"{BASE}/instance/service-accounts"


class Tokens:
    def id_token(self, email: str, audience: str, *, full: bool = True) -> str:
        return f"{email} {audience} {full}"

    def access_token(self, email: str) -> str:
        return f"token of {email}"


@pytest.fixture
def web() -> Web:
    config = CloudConfig(project="p", number="123456789012", region="us-west1")
    app = MetadataServer(config, Tokens(), {4711: EMAIL})
    return Web(app, base="http://127.0.0.1:4711", headers={"metadata-flavor": "Google"})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/project/project-id", "p"),
        ("/project/numeric-project-id", "123456789012"),
        ("/instance/region", "projects/123456789012/regions/us-west1"),
        ("/instance/zone", "projects/123456789012/zones/us-west1-1"),
        ("/universe/universe-domain", "googleapis.com"),
        ("/instance/service-accounts/", f"default/\n{EMAIL}/\n"),
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
def test_a_value_is_served_as_text(web: Web, path: str, text: str) -> None:
    answer = web.get(f"{BASE}{path}")

    assert (answer.status_code, answer.text) == (200, text)
    assert answer.headers["metadata-flavor"] == "Google"


def test_recursive_describes_an_account(web: Web) -> None:
    described = web.get(f"{ACCOUNTS}/default/?recursive=true").json()

    assert described["email"] == EMAIL
    assert described["aliases"] == ["default"]
    assert set(web.get(f"{ACCOUNTS}/?recursive=true").json()) == {"default", EMAIL}


def test_a_token_is_for_the_account_of_the_port(web: Web) -> None:
    assert web.get(f"{ACCOUNTS}/default/token?scopes=a,b").json() == {
        "access_token": f"token of {EMAIL}",
        "expires_in": 3599,
        "token_type": "Bearer",
    }


@pytest.mark.parametrize(("query", "full"), [("", False), ("&format=full", True)])
def test_an_identity_is_for_its_audience(web: Web, query: str, full: bool) -> None:
    answer = web.get(f"{ACCOUNTS}/default/identity?audience=https://a{query}")

    assert answer.text == f"{EMAIL} https://a {full}"


def test_an_identity_without_an_audience_is_refused(web: Web) -> None:
    answer = web.get(f"{ACCOUNTS}/default/identity")

    assert answer.status_code == 400
    assert answer.text.strip() == "non-empty audience parameter required"


def test_only_the_root_answers_without_the_header(web: Web) -> None:
    web.headers = {}

    assert web.get("/").headers["metadata-flavor"] == "Google"
    assert web.get(f"{BASE}/project/project-id").status_code == 403


def test_a_forwarded_request_is_refused(web: Web) -> None:
    answer = web.get(f"{BASE}/project/project-id", headers={"x-forwarded-for": "1.2.3.4"})

    assert answer.status_code == 403


def test_only_get_is_known(web: Web) -> None:
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
def test_what_is_unknown_is_not_found(web: Web, path: str) -> None:
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
def test_a_container_is_who_it_is_by_its_address(
    address: str, port: int, status: int, text: str
) -> None:
    app = MetadataServer(CloudConfig(), Tokens(), {4711: EMAIL}, _find)
    web = Web(
        app,
        base=f"http://127.0.0.1:{port}",
        headers={"metadata-flavor": "Google"},
        client=address,
    )

    answer = web.get(f"{ACCOUNTS}/default/email")

    assert (answer.status_code, answer.text) == (status, text)
