"""Unit tests of the OpenID Connect provider, over HTTP in memory."""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from devenv.oidc.provider import CODE_SECONDS, TOKEN_SECONDS, OidcClient, OidcProvider, Person
from devenv.oidc.web import app

ISSUER = "http://localhost:8030"
CALLBACK = "http://localhost:8000/callback/"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
ASKED = {
    "client_id": "shop",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "scope": "openid email",
    "state": "s&1",
    "nonce": "n1",
    "code_challenge": CHALLENGE.decode(),
    "code_challenge_method": "S256",
}
ADA = {"email": "ada@example.org", "name": "Ada Example", "email_verified": "on"}


@dataclass
class SignInProvider:
    """Calls the application in memory; its clock is turned by hand."""

    folder: Path
    now: float = 1_800_000_000.0
    app: Any = field(init=False)

    def __post_init__(self) -> None:
        client = OidcClient(id="shop", secret="s3cret", redirect_uris=(CALLBACK,))
        provider = OidcProvider(
            issuer=ISSUER, client=client, folder=self.folder, clock=lambda: self.now
        )
        self.app = app(provider, (Person(email="ada@example.org", name="Ada <b>"),))

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as client:
                return await client.request(method, path, **request)

        return asyncio.run(call())

    def choose(self, **form: str) -> dict[str, str]:
        """Return what the client gets after a choice on the page."""
        answer = self.send("POST", "/authorize", data={**ASKED, **ADA, **form})
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"].startswith(CALLBACK)
        return _query(answer.headers["location"])

    def redeem(self, code: str, **form: str) -> httpx.Response:
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            "client_id": "shop",
            "client_secret": "s3cret",
        }
        return self.send("POST", "/token", data={**sent, **form})

    def userinfo(self, token: str) -> httpx.Response:
        return self.send("GET", "/userinfo", headers={"Authorization": f"Bearer {token}"})


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
def provider(tmp_path: Path) -> SignInProvider:
    return SignInProvider(tmp_path)


def test_code_gives_signed_id_token_and_claims(provider: SignInProvider) -> None:
    answer = provider.choose()
    tokens = provider.redeem(answer["code"]).json()

    keys = jwt.PyJWKSet.from_dict(provider.send("GET", "/jwks").json())
    header = jwt.get_unverified_header(tokens["id_token"])
    claims = jwt.decode(
        tokens["id_token"],
        keys[header["kid"]].key,
        algorithms=["RS256"],
        audience="shop",
        issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (answer["state"], answer["iss"]) == ("s&1", ISSUER)
    assert (claims["nonce"], claims["email"], claims["email_verified"]) == (
        "n1",
        ADA["email"],
        True,
    )
    assert provider.userinfo(tokens["access_token"]).json()["sub"] == claims["sub"]


def test_discovery_names_routes_that_exist(provider: SignInProvider) -> None:
    found = provider.send("GET", "/.well-known/openid-configuration").json()

    assert found["issuer"] == ISSUER
    for name, url in found.items():
        if name.endswith(("_endpoint", "_uri")):
            assert provider.send("GET", urlsplit(url).path).status_code != 404


def test_key_stays_over_restart_and_is_private(provider: SignInProvider, tmp_path: Path) -> None:
    again = SignInProvider(tmp_path)

    assert again.send("GET", "/jwks").json() == provider.send("GET", "/jwks").json()
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"client_id": "other"}, "client_id is"),
        ({"redirect_uri": "https://evil.example/"}, "redirect_uri is"),
        ({"redirect_uri": CALLBACK + "more"}, "redirect_uri is"),
    ],
)
def test_unknown_client_or_address_gets_no_redirect(
    provider: SignInProvider, wrong: Mapping[str, str], named: str
) -> None:
    for answer in (
        provider.send("GET", "/authorize", params={**ASKED, **wrong}),
        provider.send("POST", "/authorize", data={**ASKED, **ADA, **wrong}),
    ):
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert named in answer.text


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "email"}, "invalid_scope"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_wrong_request_is_told_to_the_client(
    provider: SignInProvider, wrong: Mapping[str, str], error: str
) -> None:
    answer = provider.send("GET", "/authorize", params={**ASKED, **wrong})

    assert _query(answer.headers["location"])["error"] == error


def test_cancel_is_told_to_the_client(provider: SignInProvider) -> None:
    assert provider.choose(decision="cancel")["error"] == "access_denied"


@pytest.mark.parametrize(
    "email", ["", "ada", "@example.org", "a b@example.org", "a\n@example.org", "a" * 255 + "@b.c"]
)
def test_bad_address_is_shown_on_the_page(provider: SignInProvider, email: str) -> None:
    answer = provider.send("POST", "/authorize", data={**ASKED, **ADA, "email": email})

    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)


def test_names_are_escaped_on_the_page(provider: SignInProvider) -> None:
    shown = provider.send("GET", "/authorize", params={**ASKED, "login_hint": '"><script>'})

    assert "Ada &lt;b&gt;" in shown.text
    assert "<script>" not in shown.text
    assert "form-action 'self' http://localhost:8000" in shown.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"code": "other"}, "invalid_grant"),
        ({"redirect_uri": "http://localhost/"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "é"}, "invalid_client"),
    ],
)
def test_wrong_token_request_gets_error_of_the_protocol(
    provider: SignInProvider, wrong: Mapping[str, str], error: str
) -> None:
    answer = provider.redeem(**{"code": provider.choose()["code"], **wrong})

    assert (answer.status_code, answer.json()["error"]) == (
        401 if error == "invalid_client" else 400,
        error,
    )


def test_second_use_of_code_revokes_its_token(provider: SignInProvider) -> None:
    code = provider.choose()["code"]
    token = provider.redeem(code).json()["access_token"]

    assert provider.redeem(code).json()["error"] == "invalid_grant"
    assert provider.userinfo(token).status_code == 401


def test_code_and_token_expire(provider: SignInProvider) -> None:
    late, used = provider.choose()["code"], provider.choose()["code"]
    token = provider.redeem(used).json()["access_token"]
    provider.now += CODE_SECONDS
    expired = provider.redeem(late)
    provider.now += TOKEN_SECONDS

    assert expired.status_code == 400
    assert provider.userinfo(token).status_code == 401


def test_client_may_send_secret_in_header(provider: SignInProvider) -> None:
    code = provider.choose()["code"]
    form = {"client_id": "", "client_secret": ""}
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}

    answer = provider.send(
        "POST",
        "/token",
        data={**sent, **form, "code_verifier": VERIFIER},
        auth=("shop", "s3cret"),
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8000"},
    ],
)
def test_form_of_another_site_is_refused(
    provider: SignInProvider, headers: Mapping[str, str]
) -> None:
    answer = provider.send("POST", "/authorize", data={**ASKED, **ADA}, headers=headers)

    assert answer.status_code == 403


@pytest.mark.parametrize("body", [b"\xff", b"a=1&" * 100, b"a" * 70_000])
def test_unreadable_form_gets_error_of_the_protocol(provider: SignInProvider, body: bytes) -> None:
    for path in ("/token", "/authorize"):
        answer = provider.send("POST", path, content=body)
        assert 400 <= answer.status_code < 500
