"""RSA keys that outlive the process: one PEM file each, readable by their owner only."""

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


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key and its id, which is derived from the public half as Google's look: 40 hex digits."""

    private: rsa.RSAPrivateKey
    kid: str

    def sign(self, data: bytes) -> bytes:
        """Return the RS256 signature of `data`."""
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` is this key's of `data`."""
        try:
            self.private.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def certificate(self, common_name: str) -> str:
        """Return a self-signed certificate of this key as PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=self.private.public_key(),
            serial_number=int(self.kid[:16], 16) or 1,
            not_valid_before=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
            not_valid_after=dt.datetime(2049, 1, 1, tzinfo=dt.UTC),
        )
        signed = builder.sign(self.private, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


class KeyRing:
    """The keys of one project; a key is made when it is first asked for."""

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
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return SigningKey(private, hashlib.sha256(public).hexdigest()[:40])


def pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return `key` as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_private(path: Path, data: bytes) -> None:
    """Write a secret whole or not at all; nobody but its owner can read it at any moment."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)
