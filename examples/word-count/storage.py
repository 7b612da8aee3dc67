"""Objects of the bucket, by the API of Cloud Storage."""

import os
from urllib.parse import quote

import google.auth
from google.auth.transport.requests import AuthorizedSession

_SITE = "https://storage.googleapis.com"
_credentials, PROJECT = google.auth.default()
_session = AuthorizedSession(_credentials)


def write(name: str, content: bytes) -> None:
    url = f"{_SITE}/upload/storage/v1/b/{os.environ['BUCKET']}/o"
    query = {"uploadType": "media", "name": name}
    _session.post(url, params=query, data=content).raise_for_status()


def read(name: str) -> bytes | None:
    """Return an object's content, None if there is none."""
    url = f"{_SITE}/storage/v1/b/{os.environ['BUCKET']}/o/{quote(name, safe='')}"
    answer = _session.get(url, params={"alt": "media"})
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return answer.content
