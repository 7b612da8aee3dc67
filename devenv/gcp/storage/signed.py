"""Signed requests: the account that signed one, if the signature is valid.

Version 4 signs a canonical form of the whole request: method, path, query, chosen headers, and the
digest of the body where a header has it. The signature is that of an account's RSA key, or of an HMAC
key in Google's form or in that of S3 clients; it stands in the URL, or in the Authorization header.
Version 2, in URLs alone, signs method, Content-MD5, Content-Type, expiry, the `x-goog-` headers and
the resource; clients differ in whether further query parameters belong to the resource, so both forms
are accepted. A request that has any parameter of either version is treated as signed, and is refused
unless the signature verifies, also where IAM is off.

See https://cloud.google.com/storage/docs/authentication/signatures,
https://cloud.google.com/storage/docs/authentication/canonical-requests,
https://cloud.google.com/storage/docs/migrating and
https://cloud.google.com/storage/docs/access-control/signed-urls-v2.
"""

import base64
import binascii
import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode

from starlette.types import Message, Receive

from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import (
    ExpiredToken,
    MalformedSecurityHeader,
    NotEmulated,
    RequestTimeTooSkewed,
    SignatureMismatch,
    UploadProblem,
)

_RSA = "GOOG4-RSA-SHA256"
_MAX_LIFETIME = 7 * 24 * 3600
_SKEW = 15 * 60
_V2_PARAMETERS = ("googleaccessid", "expires", "signature")
_V2_UNSIGNED = ("generation", "response-content-disposition", "response-content-type")
_MARKS = {
    *("googleaccessid", "signature", "x-goog-credential", "x-goog-signature"),
    *("x-amz-credential", "x-amz-signature"),
}
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your Google secret key and signing method."
)
_CREDENTIAL = re.compile(
    r"(?P<key>[^/]{1,256})/(?P<scope>(?P<date>\d{8})/(?P<place>[\w-]+)/(?P<end>\w+/\w+))"
)
_AUTHORIZATION = re.compile(
    r"(?P<algorithm>(?:GOOG4|AWS4)-\S+)\s+Credential=(?P<credential>[^,\s]+),\s*"
    r"SignedHeaders=(?P<signedheaders>[^,\s]+),\s*Signature=(?P<signature>\w+)"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """A form of version 4: the prefix of its parameters and headers, and the ends of its texts."""

    mark: str
    end: str
    secret: str = ""


_SCHEMES = {
    _RSA: SignatureScheme("x-goog", "storage/goog4_request"),
    "GOOG4-HMAC-SHA256": SignatureScheme("x-goog", "storage/goog4_request", "GOOG4"),
    "AWS4-HMAC-SHA256": SignatureScheme("x-amz", "s3/aws4_request", "AWS4"),
}


class Verifier(Protocol):
    """The public keys of service accounts."""

    def verify_signature(self, email: str, payload: bytes, signature: bytes) -> bool:
        """Return whether `signature` is the RSA-SHA256 one of `email` over `payload`."""
        ...

    def is_enabled(self, email: str) -> bool:
        """Return whether the project has this account and it is not disabled."""
        ...


class HmacSecrets(Protocol):
    """The HMAC keys of service accounts."""

    def secret(self, access_id: str) -> tuple[str, str]:
        """Return the account and the secret of an active key. Raises InvalidSecurity."""
        ...


@dataclass(frozen=True, slots=True)
class Signatures:
    """Finds the account that made a signature of version 4."""

    verifier: Verifier
    secrets: HmacSecrets

    def signer(
        self, algorithm: str, credential: str, date: str, *, payload: bytes, signature: str
    ) -> str:
        """Return the account. Raises StorageApiError, or InvalidArgument if it cannot be read.

        `credential` is `KEY/DATE/PLACE/SERVICE/END`, `date` the moment that the request names.
        """
        scheme, found = _SCHEMES.get(algorithm), _CREDENTIAL.fullmatch(credential)
        if scheme is None or not found or found["end"] != scheme.end:
            raise InvalidArgument("Invalid signing algorithm or credential.")
        if not date.startswith(found["date"]):
            raise InvalidArgument("The date of the credential and that of the request differ.")
        if not scheme.secret:
            email = found["key"]
            good = self.verifier.verify_signature(email, payload, _unhex(signature))
        else:
            email, secret = self.secrets.secret(found["key"])
            key = (scheme.secret + secret).encode()
            for text in found["scope"].split("/"):
                key = hmac.digest(key, text.encode(), "sha256")
            good = hmac.compare_digest(hmac.digest(key, payload, "sha256"), _unhex(signature))
        if not good:
            raise SignatureMismatch(_MISMATCH)
        return email

    def signer_v2(self, email: str, payload: bytes, signature: str) -> str:
        """Return `email` if it made a signature of version 2. Raises SignatureMismatch."""
        if not self.verifier.verify_signature(email, payload, _unbase64(signature)):
            raise SignatureMismatch(_MISMATCH)
        return email


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

    def signer(self, signatures: Signatures, clock: Clock) -> str:
        """Return the account that signed. Raises StorageApiError or InvalidArgument if none did."""
        fields = {name.lower(): value for name, value in self.query}
        if self._is_v2:
            return self._signer_v2(fields, signatures.verifier, clock)
        fields, mark = self._parameters(fields)
        algorithm, date = fields.get("algorithm", ""), fields.get("date", "")
        _check_age(fields, clock)
        scope = fields.get("credential", "").partition("/")[2]
        payload = "\n".join((algorithm, date, scope, self._digest(fields, mark)))
        return signatures.signer(
            algorithm,
            fields.get("credential", ""),
            date,
            payload=payload.encode("utf-8", "replace"),
            signature=fields.get("signature", ""),
        )

    @property
    def _is_v2(self) -> bool:
        return any(name.lower() in ("googleaccessid", "signature") for name, _ in self.query)

    def plain_headers(self) -> dict[str, str]:
        """Return the headers with Google's names in place of those of S3 clients."""
        if self._is_v2:  # which signs no headers of S3 clients
            return dict(self.headers)
        return {
            f"x-goog-{name.removeprefix('x-amz-')}" if name.startswith("x-amz-") else name: value
            for name, value in self.headers.items()
        }

    def checked(self, receive: Receive) -> Receive:
        """Return a `receive` that raises UploadProblem if the body has not the signed digest.

        Raises NotEmulated at once for a digest of another kind.
        """
        wanted = self._content_digest()
        if wanted == _UNSIGNED:
            return receive
        if not _DIGEST.fullmatch(wanted):
            raise NotEmulated(
                f"The body in signed chunks ({wanted[:60]}); set "
                "request_checksum_calculation=when_required in an S3 client, or sign the whole body"
            )
        digest = hashlib.sha256()

        async def checked() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                digest.update(message.get("body", b""))
                if not message.get("more_body") and digest.hexdigest() != wanted:
                    raise UploadProblem(
                        "BadDigest",
                        "The SHA-256 digest of the body is not the one that was signed.",
                    )
            return message

        return checked

    def _parameters(self, query: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """Return the parts of the signature by short names, and the prefix of their names."""
        header = _AUTHORIZATION.fullmatch(self.headers.get("authorization", "").strip())
        if header:
            mark = "x-amz" if header["algorithm"].startswith("AWS4") else "x-goog"
            return {**header.groupdict(), "date": self.headers.get(f"{mark}-date", "")}, mark
        mark = "x-amz" if any(name.startswith("x-amz-") for name in query) else "x-goog"
        found = {
            name.removeprefix(f"{mark}-"): value
            for name, value in query.items()
            if name.startswith(f"{mark}-")
        }
        return {"expires": "", **found}, mark

    def _content_digest(self) -> str:
        names = ("x-goog-content-sha256", "x-amz-content-sha256")
        return next((self.headers[name] for name in names if name in self.headers), _UNSIGNED)

    def _signer_v2(self, fields: Mapping[str, str], verifier: Verifier, clock: Clock) -> str:
        email, expires = fields.get("googleaccessid", ""), fields.get("expires", "")
        if not email or not re.fullmatch(r"[0-9]{1,12}", expires):
            raise InvalidArgument("A signed URL of version 2 needs GoogleAccessId and Expires.")
        if clock.machine() >= int(expires):  # without the time of its signature
            raise ExpiredToken("The provided token has expired.")
        signature = _unbase64(fields.get("signature", ""))
        if not any(
            verifier.verify_signature(email, text.encode("utf-8", "replace"), signature)
            for text in self._texts_v2(expires)
        ):
            raise SignatureMismatch(_MISMATCH)
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

    def _digest(self, fields: Mapping[str, str], mark: str) -> str:
        names = fields.get("signedheaders", "").split(";")
        own = {name for name in self.headers if name.startswith(("x-goog-", "x-amz-"))}
        unsigned = own - set(names)
        if "host" not in names or unsigned:
            missing = ", ".join(sorted(unsigned)) or "host"
            raise MalformedSecurityHeader(f"Headers that must be signed are not: {missing}.")
        headers = "".join(f"{name}:{_squeeze(self.headers.get(name, ''))}\n" for name in names)
        query = "&".join(
            sorted(
                f"{_quote(name)}={_quote(value)}"
                for name, value in self.query
                if name.lower() != f"{mark}-signature"
            )
        )
        parts = (self.method, self.path, query, headers, ";".join(names), self._content_digest())
        return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()


def is_signed(query: Mapping[str, str]) -> bool:
    """Return whether a query has a parameter by which signed URLs are known."""
    return not _MARKS.isdisjoint(map(str.lower, query))


def is_signature(authorization: str) -> bool:
    """Return whether an Authorization header has a signature. Raises NotEmulated for version 2."""
    kind = authorization.partition(" ")[0]
    if kind in ("AWS", "GOOG1"):
        raise NotEmulated("A signature of version 2 by an HMAC key")
    return kind.startswith(("GOOG4-", "AWS4-"))


def _check_age(fields: Mapping[str, str], clock: Clock) -> None:
    """Refuse a signature of another time. One in a header, without `expires`, holds for minutes."""
    stamp, lifetime = fields.get("date", ""), fields.get("expires")
    try:
        begin = clock.at(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))
    except ValueError as error:
        raise InvalidArgument("The date of the signature is not like 20270131T120000Z.") from error
    now = clock.now()
    if lifetime is None:
        if abs(now - begin) > _SKEW:
            raise RequestTimeTooSkewed(
                "The difference between the request time and the current time is too large."
            )
        return
    if not re.fullmatch(r"[0-9]{1,6}", lifetime) or not 0 < int(lifetime) <= _MAX_LIFETIME:
        raise InvalidArgument("Expires must be between 1 and 604800 seconds.")
    if now < begin - _SKEW:
        raise InvalidArgument("The request was signed for a time that has not come yet.")
    if now >= begin + int(lifetime):
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


def _unbase64(text: str) -> bytes:
    try:  # a client that did not encode `+` has sent a space
        return base64.b64decode(text.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError):
        return b""
