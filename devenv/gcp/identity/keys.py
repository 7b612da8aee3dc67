"""RSA keys that outlive the process, in files that only their owner can read.

`KeyRing` holds Google's own keys: the one that signs ID tokens and one per account for signBlob.
`UserKeys` holds the keys that users create for a service account. Of those only the certificate is
kept, as by Google; the private half is returned once, when the key is made.
"""

import datetime as dt
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

_NEVER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # RFC 5280, section 4.1.2.5
_PROJECT_BEGAN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of an RSA key; `certificate` is PEM."""

    kid: str
    certificate: str

    @property
    def since(self) -> dt.datetime:
        """When the key was made, to the second."""
        return x509.load_pem_x509_certificate(self.certificate.encode()).not_valid_before_utc

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` is this key's of `data`."""
        public = x509.load_pem_x509_certificate(self.certificate.encode()).public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        return _verifies(public, signature, data)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key; its id is derived from the public half and looks like Google's: 40 hex digits."""

    private: rsa.RSAPrivateKey
    kid: str

    @classmethod
    def new(cls) -> "SigningKey":
        return cls.of(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    @classmethod
    def of(cls, private: rsa.RSAPrivateKey) -> "SigningKey":
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(private, hashlib.sha256(public).hexdigest()[:40])

    def sign(self, data: bytes) -> bytes:
        """Return the RS256 signature of `data`."""
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` is this key's of `data`."""
        return _verifies(self.private.public_key(), signature, data)

    def certificate(self, common_name: str, since: dt.datetime = _PROJECT_BEGAN) -> str:
        """Return a self-signed certificate of this key as PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=self.private.public_key(),
            serial_number=int(self.kid[:16], 16) or 1,
            not_valid_before=since,
            not_valid_after=_NEVER,
        )
        signed = builder.sign(self.private, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


class KeyRing:
    """The keys of one project; a key is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._keys: dict[str, SigningKey] = {}

    def key(self, name: str) -> SigningKey:
        """Return the key called `name`."""
        if name not in self._keys:
            self._keys[name] = self._load(name)
        return self._keys[name]

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes that stay the same for `name`."""
        path = self._folder / f"{name}.bin"
        if not path.exists():
            write_private(path, os.urandom(32))
        return path.read_bytes()

    def _load(self, name: str) -> SigningKey:
        path = self._folder / f"{name}.pem"
        if not path.exists():
            write_private(path, pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(private, rsa.RSAPrivateKey)
        return SigningKey.of(private)


class UserKeys:
    """The keys that users created for service accounts: `FOLDER/EMAIL/KEY.pem` certificates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, email: str, since: dt.datetime = _PROJECT_BEGAN) -> SigningKey:
        """Return a new key; only its certificate is kept."""
        key = SigningKey.new()
        folder = self._folder / email
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(folder / f"{key.kid}.pem", key.certificate(email, since).encode())
        return key

    def of(self, email: str) -> list[PublicKey]:
        """Return the keys of an account; the caller has checked that the account exists."""
        files = sorted((self._folder / email).glob("*.pem"))
        return [PublicKey(file.stem, file.read_text()) for file in files]

    def delete(self, email: str, kid: str) -> None:
        (self._folder / email / f"{kid}.pem").unlink(missing_ok=True)


def _verifies(public: rsa.RSAPublicKey, signature: bytes, data: bytes) -> bool:
    try:
        public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return `key` as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_private(path: Path, data: bytes) -> None:
    """Write a secret completely or not at all, readable by its owner only."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)
