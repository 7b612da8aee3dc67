"""The local certificate authority: limited, short-lived, kept over restarts."""

import datetime as dt
from pathlib import Path

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from devenv.gcp.intercept.authority import Authority, prepare
from devenv.gcp.intercept.router import certified
from devenv.gcp.java import trust_store_of

NAMES = certified("us-west1")


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    path.write_text("the machine's own roots\n")
    return path


@pytest.fixture
def authority(tmp_path: Path, roots: Path) -> Authority:
    return prepare(tmp_path / "tls", names=NAMES, roots=roots)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_bundle_holds_roots_of_the_machine_and_ours(authority: Authority) -> None:
    bundle = authority.bundle.read_text()

    assert bundle.startswith("the machine's own roots\n")
    assert bundle.count("BEGIN CERTIFICATE") == 1
    store = load_pkcs12(Path(trust_store_of(authority.bundle)).read_bytes(), None)
    ours = authority.bundle.with_name("ca.pem")
    assert [each.certificate for each in store.additional_certs] == [certificate(ours)]


def test_authority_expires_within_90_days(authority: Authority) -> None:
    for path in (authority.chain, authority.chain.with_name("ca.pem")):
        end = certificate(path).not_valid_after_utc
        assert end - dt.datetime.now(dt.UTC) < dt.timedelta(days=90)  # noqa: TID251 - as it says


def test_authority_is_limited_to_emulated_names(authority: Authority) -> None:
    ca = certificate(authority.chain.with_name("ca.pem"))
    limits = ca.extensions.get_extension_for_class(x509.NameConstraints)

    permitted = {name.value for name in limits.value.permitted_subtrees or ()}
    assert permitted >= {"googleapis.com", "run.app"}
    assert limits.critical


def test_authority_files_are_private(authority: Authority) -> None:
    assert authority.key.stat().st_mode & 0o777 == 0o600


def test_restart_keeps_the_authority(authority: Authority, tmp_path: Path, roots: Path) -> None:
    before = authority.bundle.read_bytes()

    prepare(tmp_path / "tls", names=NAMES, roots=roots)
    assert authority.bundle.read_bytes() == before


def test_authority_is_renewed_a_month_before_expiry(
    authority: Authority, tmp_path: Path, roots: Path
) -> None:
    before = authority.bundle.read_bytes()
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=61)):  # noqa: TID251
        prepare(tmp_path / "tls", names=NAMES, roots=roots)

    assert authority.bundle.read_bytes() != before


@pytest.mark.parametrize("damage", [b"", b"nonsense"])
def test_broken_authority_file_is_replaced(
    authority: Authority, tmp_path: Path, roots: Path, damage: bytes
) -> None:
    authority.chain.write_bytes(damage)

    prepare(tmp_path / "tls", names=NAMES, roots=roots).context("h2")


def test_other_region_gets_another_certificate(
    authority: Authority, tmp_path: Path, roots: Path
) -> None:
    prepare(tmp_path / "tls", names=certified("europe-west1"), roots=roots)

    alternative = certificate(authority.chain).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "*.europe-west1.run.app" in alternative.value.get_values_for_type(x509.DNSName)


def test_own_bundle_is_not_taken_as_machine_roots(authority: Authority, tmp_path: Path) -> None:
    again = prepare(tmp_path / "tls", names=NAMES, roots=authority.bundle)

    assert again.bundle.read_text().count("Local emulated") <= 1
    assert "the machine's own roots" not in again.bundle.read_text()
