"""Verifying Google's ID tokens."""

import datetime as dt
import http.client
import json
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from io import BytesIO
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

from validibot.worker import views

WORKER = "https://worker.example.run.app"
QUEUE = "tasks@project.iam.gserviceaccount.com"

type Mint = Callable[..., str]


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    day = dt.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(now - day).not_valid_after(now + day)
    return signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class FakeGoogle:
    """Answers requests for certificates below the level at which responses are cached."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.status = 200
        self.requests = 0

    def urlopen(self, *_: object, **__: object) -> urllib3.HTTPResponse:
        self.requests += 1
        head = (
            f"HTTP/1.1 {self.status} Whatever\r\nDate: {formatdate(usegmt=True)}\r\n"
            f"Cache-Control: public, max-age=3600\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        answer = http.client.HTTPResponse(Wire((head + self.body).encode()))  # type: ignore[arg-type]
        answer.begin()
        return urllib3.HTTPResponse(
            answer,
            headers=dict(answer.headers),
            status=answer.status,
            preload_content=False,
        )


class Wire:
    """As much of a socket as an HTTP response needs."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._content)


@pytest.fixture
def google(key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGoogle]:
    """Google's certificates, fetched anew by each test."""
    google = FakeGoogle(json.dumps({"k1": certificate(key)}))
    monkeypatch.setattr(urllib3.HTTPSConnectionPool, "urlopen", google.urlopen)
    views._transport.cache_clear()
    yield google
    views._transport.cache_clear()


@pytest.fixture
def mint(key: rsa.RSAPrivateKey, google: FakeGoogle) -> Mint:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    signer = crypt.RSASigner.from_string(pem, key_id="k1")  # type: ignore[no-untyped-call]

    def make(**changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": WORKER,
            "email": QUEUE,
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
        }
        token: bytes = jwt.encode(signer, claims | changes)  # type: ignore[no-untyped-call]
        return token.decode()

    return make


def verify(token: str) -> str:
    return views.verify_id_token(token, audience=WORKER, allowed=[QUEUE])


def test_valid_token_returns_caller(mint: Mint) -> None:
    assert verify(mint()) == QUEUE


def test_small_clock_skew_is_accepted(mint: Mint) -> None:
    assert verify(mint(iat=int(time.time()) + 5)) == QUEUE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "https://other.example"}, "audience"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"exp": 1_000_000_000, "iat": 999_999_000}, "expired"),
        ({"email": "eve@example.org"}, "eve@example.org is not among"),
        ({"email_verified": False}, "no verified email"),
        ({"email": ""}, "no verified email"),
    ],
)
def test_any_other_token_is_refused_with_its_reason(
    mint: Mint, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(views.TokenRefused, match=reason):
        verify(mint(**changes))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "☃", "e30.e30.e30", "a" * 50_000])
def test_rubbish_is_refused(google: FakeGoogle, token: str) -> None:
    with pytest.raises(views.TokenRefused):
        verify(token)


def test_token_with_wrong_signature_is_refused(mint: Mint) -> None:
    head, claims, _ = mint().split(".")

    with pytest.raises(views.TokenRefused):
        verify(f"{head}.{claims}.{'A' * 342}")


def test_certificates_are_fetched_once(mint: Mint, google: FakeGoogle) -> None:
    for _ in range(3):
        verify(mint())

    assert google.requests == 1


def test_missing_certificates_raise_certificates_unavailable(
    mint: Mint, google: FakeGoogle
) -> None:
    google.status = 503

    with pytest.raises(views.CertificatesUnavailable):
        verify(mint())
