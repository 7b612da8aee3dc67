"""Signed URLs, version 4: who signed a request, and whether the signature still holds.

After https://cloud.google.com/storage/docs/authentication/canonical-requests.
"""

import calendar
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import ExpiredToken, MalformedSecurityHeader, SignatureMismatch

_ALGORITHM = "GOOG4-RSA-SHA256"
_LONGEST = 7 * 24 * 3600
_SKEW = 15 * 60
_CREDENTIAL = re.compile(
    r"(?P<email>[^/]{1,256})/(?P<scope>(?P<date>\d{8})/[\w-]+/storage/goog4_request)"
)


class Verifier(Protocol):
    """Knows the public keys of service accounts."""

    def verify_signature(self, email: str, payload: bytes, signature: bytes) -> bool:
        """Return whether `signature` is the RSA-SHA256 one of `email` over `payload`."""
        ...


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came: `path` is still percent-encoded, header names are lower-case."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]

    def signer(self, verifier: Verifier, now: float) -> str:
        """Return the account that signed. Raises StorageError or InvalidArgument if none did."""
        fields = {name.lower(): value for name, value in self.query}
        credential = _CREDENTIAL.fullmatch(fields.get("x-goog-credential", ""))
        if fields.get("x-goog-algorithm") != _ALGORITHM or not credential:
            raise InvalidArgument("Invalid signing algorithm or credential.")
        _check_age(fields, credential["date"], now)
        payload = "\n".join(
            (_ALGORITHM, fields["x-goog-date"], credential["scope"], self._digest(fields))
        )
        if not verifier.verify_signature(
            credential["email"], payload.encode(), _unhex(fields.get("x-goog-signature", ""))
        ):
            raise SignatureMismatch(
                "The request signature we calculated does not match the signature you provided. "
                "Check your Google secret key and signing method."
            )
        return credential["email"]

    def _digest(self, fields: Mapping[str, str]) -> str:
        names = fields.get("x-goog-signedheaders", "").split(";")
        unsigned = {name for name in self.headers if name.startswith("x-goog-")} - set(names)
        if "host" not in names or unsigned:
            missing = ", ".join(sorted(unsigned)) or "host"
            raise MalformedSecurityHeader(f"Headers that must be signed are not: {missing}.")
        headers = "".join(f"{name}:{_squeeze(self.headers.get(name, ''))}\n" for name in names)
        query = "&".join(
            sorted(
                f"{_quote(name)}={_quote(value)}"
                for name, value in self.query
                if name.lower() != "x-goog-signature"
            )
        )
        body = self.headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
        canonical = "\n".join((self.method, self.path, query, headers, ";".join(names), body))
        return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()


def is_signed(query: Mapping[str, str]) -> bool:
    return any(name.lower() == "x-goog-signature" for name in query)


def _check_age(fields: Mapping[str, str], date: str, now: float) -> None:
    stamp, lifetime = fields.get("x-goog-date", ""), fields.get("x-goog-expires", "")
    try:
        signed = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError as error:
        raise InvalidArgument("Invalid X-Goog-Date.") from error
    if not re.fullmatch(r"[0-9]{1,6}", lifetime) or not 0 < int(lifetime) <= _LONGEST:
        raise InvalidArgument("X-Goog-Expires must be between 1 and 604800 seconds.")
    if not stamp.startswith(date):
        raise InvalidArgument("The dates of X-Goog-Credential and X-Goog-Date differ.")
    if now < signed - _SKEW:
        raise InvalidArgument("The request was signed for a time that has not come yet.")
    if now >= signed + int(lifetime):
        raise ExpiredToken("The provided token has expired.")


def _squeeze(value: str) -> str:
    return " ".join(value.split())


def _quote(text: str) -> str:
    return quote(text, safe="~")


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
