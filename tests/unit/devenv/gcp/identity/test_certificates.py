"""The certificate endpoints, as verifiers fetch them."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.identity import certificates
from devenv.gcp.identity.identity import Identity
from tests.unit.devenv.gcp.fakes import MemoryStore
from tests.unit.devenv.gcp.web import Web


@pytest.fixture
def identity(keys: Path) -> Identity:
    config = CloudConfig(project="p", accounts=("web",))
    return Identity(config=config, folder=keys, clock=ManualClock(), store=MemoryStore())


@pytest.fixture
def google(identity: Identity) -> Web:
    return Web(certificates.mounts(identity)[0].app)


def test_v1_certificates_map_key_ids_to_pem(google: Web, identity: Identity) -> None:
    answer = google.get("/oauth2/v1/certs")

    assert list(answer.json()) == [identity.signing_key.kid]
    assert answer.json()[identity.signing_key.kid].startswith("-----BEGIN CERTIFICATE-----")


def test_v3_certificates_are_key_set(google: Web, identity: Identity) -> None:
    (key,) = google.get("/oauth2/v3/certs").json()["keys"]

    assert (key["kid"], key["alg"], key["use"]) == (identity.signing_key.kid, "RS256", "sig")


def test_certificates_are_cacheable(google: Web) -> None:
    assert "max-age=21600" in google.get("/oauth2/v1/certs").headers["cache-control"]


def test_certificate_of_account_is_published(google: Web, identity: Identity) -> None:
    email = identity.account("web").email
    record = identity.accounts.record(email)
    record.disabled = True  # what it signed before can still be verified
    identity.accounts.put(record)

    turned = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)  # the clock may be 100 years ahead
    user_key = identity.user_keys.create(email, turned)
    for name in (email, identity.account("web").unique_id):
        answer = google.get(f"/robot/v1/metadata/x509/{name}")
        assert list(answer.json()) == [identity.system_key(email).kid, user_key.kid]
        found = load_pem_x509_certificate(answer.json()[user_key.kid].encode())
        assert found.not_valid_before_utc < found.not_valid_after_utc
    assert google.get("/robot/v1/metadata/x509/nobody@p").status_code == 404


def test_issuer_has_discovery_document(identity: Identity) -> None:
    accounts = Web(certificates.mounts(identity)[1].app)

    found = accounts.get("/.well-known/openid-configuration").json()
    assert found["issuer"] == "https://accounts.google.com"
    assert found["jwks_uri"] == "https://www.googleapis.com/oauth2/v3/certs"
