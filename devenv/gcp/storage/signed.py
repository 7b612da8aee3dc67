"""Signed URLs of both versions: the account that signed a request, if the signature is valid.

Version 4 signs a canonical form of the whole request: method, path, query, chosen headers. Version
2 signs method, Content-MD5, Content-Type, expiry, the `x-goog-` headers and the resource; clients
differ in whether further query parameters belong to the resource, so both forms are accepted. A
request that has any parameter of either version is treated as signed, and is refused unless the
signature verifies, also where IAM is off.

See https://cloud.google.com/storage/docs/authentication/canonical-requests and
https://cloud.google.com/storage/docs/access-control/signed-urls-v2.
"""

import base64
import binascii
import calendar
import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode

from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import ExpiredToken, MalformedSecurityHeader, SignatureMismatch

RSA = "GOOG4-RSA-SHA256"
_MAX_LIFETIME = 7 * 24 * 3600
_SKEW = 15 * 60
_V2_PARAMETERS = ("googleaccessid", "expires", "signature")
_V2_UNSIGNED = ("generation", "response-content-disposition", "response-content-type")
_MARKS = ("googleaccessid", "signature", "x-goog-credential", "x-goog-signature")
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your Google secret key and signing method."
)
CREDENTIAL = re.compile(
    r"(?P<email>[^/]{1,256})/(?P<scope>(?P<date>\d{8})/[\w-]+/storage/goog4_request)"
)


class Verifier(Protocol):
    """The public keys of service accounts."""

    def verify_signature(self, email: str, payload: bytes, signature: bytes) -> bool:
        """Return whether `signature` is the RSA-SHA256 one of `email` over `payload`."""
        ...


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request with a signature; `path` is percent-encoded, header names are lower-case.

    `bucket` is the one that the host names, empty if the path names it.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    bucket: str = ""

    def signer(self, verifier: Verifier, clock: Clock) -> str:
        """Return the account that signed. Raises StorageApiError or InvalidArgument if none did."""
        fields = {name.lower(): value for name, value in self.query}
        if "googleaccessid" in fields or "signature" in fields:
            return self._signer_v2(fields, verifier, clock)
        return self._signer_v4(fields, verifier, clock)

    def _signer_v2(self, fields: Mapping[str, str], verifier: Verifier, clock: Clock) -> str:
        email, expires = fields.get("googleaccessid", ""), fields.get("expires", "")
        if not email or not re.fullmatch(r"[0-9]{1,12}", expires):
            raise InvalidArgument("A signed URL of version 2 needs GoogleAccessId and Expires.")
        if clock.machine() >= int(expires):  # without the time of its signature
            raise ExpiredToken("The provided token has expired.")
        signature = unbase64(fields.get("signature", ""))
        if not any(
            verifier.verify_signature(email, text.encode("utf-8", "replace"), signature)
            for text in self._texts_v2(expires)
        ):
            raise SignatureMismatch(MISMATCH)
        return email

    def _texts_v2(self, expires: str) -> Iterator[str]:
        """Yield the texts that the signature may be over."""
        own = sorted((n, v) for n, v in self.headers.items() if n.startswith("x-goog-"))
        headers = "".join(f"{name}:{_squeeze(value)}\n" for name, value in own)
        body = [self.headers.get(name, "") for name in ("content-md5", "content-type")]
        head = "\n".join((self.method, *body, expires, headers))
        resource = f"/{self.bucket}{self.path}" if self.bucket else self.path
        extra = sorted((n.lower(), v) for n, v in self.query if n.lower() not in _V2_PARAMETERS)
        signed = [(name, value) for name, value in extra if name not in _V2_UNSIGNED]
        yield head + resource
        for parameters in (extra, signed):
            yield f"{head}{resource}?{urlencode(parameters)}"

    def _signer_v4(self, fields: Mapping[str, str], verifier: Verifier, clock: Clock) -> str:
        credential = CREDENTIAL.fullmatch(fields.get("x-goog-credential", ""))
        if fields.get("x-goog-algorithm") != RSA or not credential:
            raise InvalidArgument("Invalid signing algorithm or credential.")
        _check_age(fields, credential["date"], clock)
        payload = "\n".join((RSA, fields["x-goog-date"], credential["scope"], self._digest(fields)))
        if not verifier.verify_signature(
            credential["email"], payload.encode(), unhex(fields.get("x-goog-signature", ""))
        ):
            raise SignatureMismatch(MISMATCH)
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
    """Return whether a query has a parameter by which signed URLs are known."""
    return any(name.lower() in _MARKS for name in query)


def _check_age(fields: Mapping[str, str], date: str, clock: Clock) -> None:
    stamp, lifetime = fields.get("x-goog-date", ""), fields.get("x-goog-expires", "")
    try:
        signed = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError as error:
        raise InvalidArgument("Invalid X-Goog-Date.") from error
    if not re.fullmatch(r"[0-9]{1,6}", lifetime) or not 0 < int(lifetime) <= _MAX_LIFETIME:
        raise InvalidArgument("X-Goog-Expires must be between 1 and 604800 seconds.")
    if not stamp.startswith(date):
        raise InvalidArgument("The dates of X-Goog-Credential and X-Goog-Date differ.")
    begin = clock.at(signed)
    if clock.now() < begin - _SKEW:
        raise InvalidArgument("The request was signed for a time that has not come yet.")
    if clock.now() >= begin + int(lifetime):
        raise ExpiredToken("The provided token has expired.")


def _squeeze(value: str) -> str:
    return " ".join(value.split())


def _quote(text: str) -> str:
    return quote(text, safe="~")


def unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def unbase64(text: str) -> bytes:
    try:  # a client that did not encode `+` has sent a space
        return base64.b64decode(text.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError):
        return b""
