"""Tokens: what is in them, how long they are good, and that they outlive the process."""

import asyncio
import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import NotFound, Unauthenticated
from devenv.gcp.identity.identity import Identity
from tests.unit.devenv.gcp.fakes import MemoryStore

CONFIG = CloudConfig(project="p", accounts=("web", "worker"))
WEB = "web@p.iam.gserviceaccount.com"
AUDIENCE = "https://worker.example"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def identity(keys: Path, clock: ManualClock) -> Identity:
    return Identity(config=CONFIG, folder=keys, clock=clock, store=MemoryStore())


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def pass_time(clock: ManualClock, seconds: float) -> None:
    asyncio.run(clock.turn(seconds))


def decode(part: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(urlsafe_b64decode(part + "=="))
    return value


def test_id_token_has_google_claims(identity: Identity) -> None:
    header, claims, _ = identity.id_token(WEB, AUDIENCE).split(".")

    issued = 1_800_000_000 - 1
    unique_id = identity.account("web").unique_id
    assert decode(header) == {"alg": "RS256", "kid": identity.signing_key.kid, "typ": "JWT"}
    assert decode(claims) == {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "azp": unique_id,
        "sub": unique_id,
        "email": WEB,
        "email_verified": True,
        "iat": issued,
        "exp": issued + 3600,
    }


def test_unique_id_has_21_stable_digits(identity: Identity) -> None:
    assert len(identity.account("web").unique_id) == 21
    assert identity.account(identity.account("web").unique_id).email == WEB


def test_published_certificate_verifies_id_token(identity: Identity) -> None:
    signed, _, signature = identity.id_token(WEB, AUDIENCE).rpartition(".")
    certificate = load_pem_x509_certificate(identity.signing_key.certificate("x").encode())

    public = certificate.public_key()
    assert isinstance(public, RSAPublicKey)
    raw = urlsafe_b64decode(signature + "==")
    public.verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_id_token_expires_after_hour(identity: Identity, clock: ManualClock) -> None:
    token = identity.id_token(WEB, AUDIENCE)

    pass_time(clock, 3590)
    assert identity.claims(token)
    pass_time(clock, 20)
    assert identity.claims(token) is None


@pytest.mark.parametrize(
    "token", ["", "a", "a.b.c", "é.é.é", "e30.e30.e30", "....", "e30.W10.AAAA"]
)
def test_invalid_id_token_has_no_claims(identity: Identity, token: str) -> None:
    assert identity.claims(token) is None


def test_tampered_claims_are_refused(identity: Identity) -> None:
    mine = identity.id_token(WEB, "mine").split(".")
    yours = identity.id_token(WEB, "yours").split(".")

    assert identity.claims(".".join([mine[0], yours[1], mine[2]])) is None


def test_id_token_is_reused_for_minute(identity: Identity, clock: ManualClock) -> None:
    first = identity.id_token(WEB, AUDIENCE)
    assert identity.id_token(WEB, AUDIENCE) == first

    pass_time(clock, 61)
    assert identity.id_token(WEB, AUDIENCE) != first


def test_access_token_identifies_caller(identity: Identity) -> None:
    assert identity.caller(bearer(identity.access_token(WEB))).email == WEB


def test_tokens_and_keys_survive_restart(
    identity: Identity, keys: Path, clock: ManualClock
) -> None:
    access, signed = identity.access_token(WEB), identity.id_token(WEB, AUDIENCE)

    again = Identity(config=CONFIG, folder=keys, clock=clock, store=MemoryStore())

    assert again.caller(bearer(access)).email == WEB
    assert again.claims(signed) == identity.claims(signed)


def test_key_files_are_readable_by_owner_only(identity: Identity, keys: Path) -> None:
    identity.blob_key(WEB)

    assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}


def test_expired_access_token_is_refused(identity: Identity, clock: ManualClock) -> None:
    token = identity.access_token(WEB)
    pass_time(clock, 3600)

    with pytest.raises(Unauthenticated) as refused:
        identity.caller(bearer(token))
    assert refused.value.details[0].reason == "ACCESS_TOKEN_EXPIRED"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "CREDENTIALS_MISSING"),
        ({"authorization": "Basic abc"}, "CREDENTIALS_MISSING"),
        (bearer("ya29.c.forged"), "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (bearer("ya29.c.é"), "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (bearer("x" * 100_000), "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
    ],
)
def test_caller_without_good_token_is_refused(
    identity: Identity, headers: dict[str, str], reason: str
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        identity.caller(headers)
    assert refused.value.details[0].reason == reason


def test_iam_off_accepts_anonymous_caller(keys: Path, clock: ManualClock) -> None:
    config = CloudConfig(project="p", iam="off")

    assert (
        Identity(config=config, folder=keys, clock=clock, store=MemoryStore()).caller({}).anonymous
    )


def test_access_boundary_is_part_of_token(identity: Identity) -> None:
    boundary = AccessBoundary((("//storage.googleapis.com/projects/_/buckets/b", ("r",), "c"),))
    token = identity.access_token(WEB, boundary=boundary)

    assert identity.caller(bearer(token)).boundary == boundary


def test_blob_signature_belongs_to_account(identity: Identity) -> None:
    signature = identity.blob_key(WEB).sign(b"blob")
    worker = "worker@p.iam.gserviceaccount.com"

    assert identity.verify_signature(WEB, b"blob", signature)
    assert not identity.verify_signature(WEB, b"other", signature)
    assert not identity.verify_signature(worker, b"blob", signature)
    assert not identity.verify_signature("stranger@p", b"blob", signature)


def test_unknown_account_gets_no_token(identity: Identity) -> None:
    assert not identity.knows("stranger@p.iam.gserviceaccount.com")
    with pytest.raises(NotFound):
        identity.access_token("stranger@p.iam.gserviceaccount.com")
