"""The right to one folder of a bucket, for an hour at most, to hand to somebody else.

A Credential Access Boundary narrows our own access token down to reading and creating below a
prefix: https://cloud.google.com/iam/docs/downscoping-short-lived-credentials
"""

import datetime as dt
from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import urlsplit

import google.auth
from google.auth import downscoped
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from validators.sdk.storage import StorageError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_TIMEOUT_SECONDS = 20.0  # for each of the two answers; google-auth would wait for 120
_ROLES = ("inRole:roles/storage.objectViewer", "inRole:roles/storage.objectCreator")


@dataclass(frozen=True, slots=True)
class Capability:
    """`prefix` is a folder URI with a slash at its end."""

    token: str
    expires_at: dt.datetime
    prefix: str
    project: str


def mint(folder: str) -> Capability:
    """Return the right to `folder` (`gs://bucket/a/b`). Raises StorageError."""
    parts = urlsplit(folder)
    prefix = f"{folder.rstrip('/')}/"
    try:
        source, project = _own()
        narrowed = downscoped.Credentials(  # type: ignore[no-untyped-call]
            source_credentials=source,
            credential_access_boundary=_boundary(
                parts.netloc, prefix.removeprefix(f"gs://{parts.netloc}/")
            ),
        )
        narrowed.refresh(partial(Request(), timeout=_TIMEOUT_SECONDS))
    except (GoogleAuthError, ValueError) as error:  # the latter: an answer that is no JSON
        raise StorageError(f"{prefix}: no token for this folder alone: {error}") from error
    assert narrowed.expiry, "a refresh sets it"
    return Capability(str(narrowed.token), narrowed.expiry.replace(tzinfo=dt.UTC), prefix, project)


@cache
def _own() -> tuple[Credentials, str]:
    credentials, project = google.auth.default(scopes=_SCOPES)
    return credentials, str(project or "")


def _boundary(bucket: str, prefix: str) -> downscoped.CredentialAccessBoundary:
    # CEL string literals: object names of ours hold neither quotes nor backslashes.
    objects = f"projects/_/buckets/{bucket}/objects/{prefix}"
    # Who may list is told by a 404 that an object is not there; others get a 403.
    listed = (
        f"api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('{prefix}')"
    )
    rule = downscoped.AccessBoundaryRule(  # type: ignore[no-untyped-call]
        available_resource=f"//storage.googleapis.com/projects/_/buckets/{bucket}",
        available_permissions=list(_ROLES),
        availability_condition=downscoped.AvailabilityCondition(  # type: ignore[no-untyped-call]
            f"resource.name.startsWith('{objects}') || {listed}"
        ),
    )
    return downscoped.CredentialAccessBoundary(rules=[rule])  # type: ignore[no-untyped-call]
