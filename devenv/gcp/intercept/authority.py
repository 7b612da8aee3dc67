"""The local certificate authority, which only the emulator's clients trust.

It signs one certificate, for Google's host names and localhost, and its own key is thrown away, so
that nothing else can ever be signed. Name constraints limit it to those domains in any case. Both
certificates live 90 days and are made anew a month before they expire, or when the names change.
Clients get a bundle of the machine's own roots and ours; the system's trust is left alone.
"""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devenv.gcp.java import trust_store, trust_store_of

_LIFETIME = dt.timedelta(days=90)
_RENEWED = dt.timedelta(days=30)
_NAME = "Local emulated Google Cloud"
_DOMAINS = ("googleapis.com", "run.app", "accounts.google.com", "google.internal", "localhost")
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Authority:
    """The files of the authority: `key` and `chain` for the server, `bundle` for clients."""

    key: Path
    chain: Path
    bundle: Path

    def context(self, protocol: str) -> ssl.SSLContext:
        """Return the TLS settings of the server of `protocol`: `http/1.1`, or `h2` for gRPC."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        context.set_alpn_protocols([protocol])
        return context


def prepare(folder: Path, *, names: tuple[str, ...], roots: Path | None = None) -> Authority:
    """Return the authority in `folder`, created or renewed if necessary.

    Its bundle, and the trust store for Java beside it, hold the machine's own roots (`roots`, else those of SSL_CERT_FILE or the system,
    else certifi's) and ours.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = Authority(folder / "leaf.key", folder / "leaf.pem", folder / "bundle.pem")
    ours = folder / "ca.pem"
    if not _good(ours, authority.chain, names):
        _issue(folder, names)
    bundle = _roots(roots, authority.bundle) + b"\n" + ours.read_bytes()
    store = Path(trust_store_of(authority.bundle))
    if not store.exists() or authority.bundle.read_bytes() != bundle:
        _replace(store, trust_store(bundle))
    _replace(authority.bundle, bundle)
    return authority


def _roots(given: Path | None, bundle: Path) -> bytes:
    default = ssl.get_default_verify_paths().cafile
    for path in (given, Path(default) if default else None):
        if path is not None and path.is_file() and path.resolve() != bundle.resolve():
            return path.read_bytes()
    return Path(certifi.where()).read_bytes()


def _good(ca: Path, leaf: Path, names: tuple[str, ...]) -> bool:
    try:
        certificates = [x509.load_pem_x509_certificate(path.read_bytes()) for path in (ca, leaf)]
    except (OSError, ValueError):
        return False
    deadline = dt.datetime.now(dt.UTC) + _RENEWED  # noqa: TID251 - TLS peers have no Clock
    alternative = certificates[1].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return alternative.value == _alternative(names) and all(
        certificate.not_valid_after_utc > deadline for certificate in certificates
    )


def _issue(folder: Path, names: tuple[str, ...]) -> None:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _sign(
        _certificate(_NAME, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(_constraints(), critical=True),
        ca_key,
    )
    leaf = _sign(
        _certificate("googleapis.com", key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(_alternative(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False),
        ca_key,
    )
    # The authority's own key is not kept, so that nothing further can be signed with it.
    _replace(folder / "leaf.key", _private(key))
    _replace(folder / "leaf.pem", leaf.public_bytes(_PEM))
    _replace(folder / "ca.pem", ca.public_bytes(_PEM))


def _certificate(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - TLS peers have no Clock
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(subject))
        .issuer_name(_common_name(_NAME))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _LIFETIME - dt.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _sign(builder: x509.CertificateBuilder, ca_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return builder.add_extension(issuer, critical=False).sign(ca_key, hashes.SHA256())


def _alternative(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    hosts = [x509.DNSName(name) for name in names]
    loopback = [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1")]
    return x509.SubjectAlternativeName([*hosts, *loopback])


def _constraints() -> x509.NameConstraints:
    # Host names only: gRPC's BoringSSL refuses a chain that constrains addresses.
    domains = [x509.DNSName(domain) for domain in _DOMAINS]
    return x509.NameConstraints(permitted_subtrees=domains, excluded_subtrees=None)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _replace(path: Path, data: bytes) -> None:
    """Write `path` at once, so that a client reads either the old or the new file."""
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_bytes(data)
    draft.replace(path)
