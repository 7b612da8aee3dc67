"""Signatures of version 4 by HMAC key, made by the published descriptions alone."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote

HOST = "storage.googleapis.com"
AWS = ("AWS4-HMAC-SHA256", "x-amz", "us-east-1/s3/aws4_request", "AWS4")
GOOGLE = ("GOOG4-HMAC-SHA256", "x-goog", "auto/storage/goog4_request", "GOOG4")


class HmacSigner:
    """Signs by the published description of version 4, in one of its two forms."""

    def __init__(self, key: tuple[str, str], form: tuple[str, str, str, str], now: float) -> None:
        self._access_id, self._secret = key
        self.algorithm, self.mark, place, self._prefix = form
        self.stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        self._scope = f"{self.stamp[:8]}/{place}"

    def headers(self, method: str, path: str, body: bytes, **more: str) -> dict[str, str]:
        """Return the headers of a request that is signed in its Authorization."""
        path, _, query = path.partition("?")
        headers = {
            "host": HOST,
            f"{self.mark}-content-sha256": hashlib.sha256(body).hexdigest(),
            f"{self.mark}-date": self.stamp,
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        digest = headers[f"{self.mark}-content-sha256"]
        signature = self._signature(method, path, query, headers, digest)
        credential = f"Credential={self._access_id}/{self._scope}"
        names = f"SignedHeaders={';'.join(sorted(headers))}"
        headers["authorization"] = f"{self.algorithm} {credential}, {names}, Signature={signature}"
        return headers

    def url(self, method: str, path: str) -> str:
        """Return a signed URL that is valid for a minute."""
        mark = self.mark.title()
        query = {
            f"{mark}-Algorithm": self.algorithm,
            f"{mark}-Credential": f"{self._access_id}/{self._scope}",
            f"{mark}-Date": self.stamp,
            f"{mark}-Expires": "60",
            f"{mark}-SignedHeaders": "host",
        }
        text = "&".join(f"{name}={quote(query[name], safe='~')}" for name in sorted(query))
        signature = self._signature(method, path, text, {"host": HOST}, "UNSIGNED-PAYLOAD")
        return f"{path}?{text}&{mark}-Signature={signature}"

    def _signature(
        self, method: str, path: str, query: str, headers: Mapping[str, str], digest: str
    ) -> str:
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join((method, path, query, lines, ";".join(sorted(headers)), digest))
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        key = (self._prefix + self._secret).encode()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"{self.algorithm}\n{self.stamp}\n{self._scope}\n{hashed}"
        return hmac.digest(key, text.encode(), "sha256").hex()
