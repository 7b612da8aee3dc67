"""HTTP client of the emulated cloud that acts as one of its service accounts."""

import json
import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

import httpx

from tests.flows.stack import Stack

WORKER = "https://validibot-worker-123456789012.us-west1.run.app"
BUCKET = "validibot-local"
_STORAGE = "https://storage.googleapis.com"


@dataclass(frozen=True)
class FlowIdentity:
    """A service account of a running stack."""

    stack: Stack
    account: str

    def id_token(self, audience: str = WORKER) -> str:
        return self._metadata(f"identity?audience={quote(audience, safe='')}&format=full").text

    def get(self, url: str, **params: str) -> httpx.Response:
        headers = self._authorization
        return self.request("GET", url, params=params, headers=headers).raise_for_status()

    def request(self, method: str, url: str, **parts: Any) -> httpx.Response:
        """Send a request to a host of the emulated cloud, with no token except one in `parts`."""
        proxy = self._environ["https_proxy"]
        with httpx.Client(proxy=proxy, verify=self._trust, timeout=90) as http:
            return http.request(method, url, **parts)

    def read(self, uri: str) -> bytes:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        return self.get(_STORAGE + path, alt="media").content

    def write(self, uri: str, content: bytes) -> None:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        self.request(
            "POST",
            f"{_STORAGE}/upload/storage/v1/b/{bucket}/o",
            params={"uploadType": "media", "name": name, "ifGenerationMatch": "0"},
            content=content,
            headers=self._authorization | {"Content-Type": "application/json"},
        ).raise_for_status()

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._metadata('token').json()['access_token']}"}

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._environ["SSL_CERT_FILE"])

    @cached_property
    def _environ(self) -> dict[str, str]:
        endpoints = self.stack.root / ".devenv" / "gcp" / "endpoints.json"
        environ: dict[str, str] = json.loads(endpoints.read_text())["environ"][self.account]
        return environ

    def _metadata(self, what: str) -> httpx.Response:
        host = self._environ["GCE_METADATA_HOST"]
        return httpx.get(
            f"http://{host}/computeMetadata/v1/instance/service-accounts/default/{what}",
            headers={"Metadata-Flavor": "Google"},
            trust_env=False,
        ).raise_for_status()
