"""Capabilities: tokens that read and create objects below one folder of a bucket, for a while.

A capability is made in two steps, so that it can do nothing outside Cloud Storage:

1. The worker impersonates `settings.CAPABILITY_ACCOUNT`, an account that has storage roles only
   (IAM Credentials, `generateAccessToken`).
2. A Credential Access Boundary narrows that account's token down to the folder (Security Token
   Service). A boundary restricts Cloud Storage alone; of other services the token can do what its
   account can, which is why the worker's own token is not used.
   https://cloud.google.com/iam/docs/downscoping-short-lived-credentials

The account's token is kept and used for many capabilities. A capability ends when it ends, so the
token is renewed when less than half of its hour is left.
"""

import datetime as dt
import json
import threading
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

import google.auth
import requests
from django.conf import settings
from django.utils import timezone
from google.auth import downscoped, impersonated_credentials
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import Request

from validators.sdk.storage import StorageError

_CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_STORAGE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_LIFETIME = dt.timedelta(hours=1)  # the most that Google allows
_LEAST_LIFETIME = _LIFETIME / 2
_TIMEOUT_SECONDS = 5.0  # for each answer; google-auth would wait for 120
_ROLES = ("inRole:roles/storage.objectViewer", "inRole:roles/storage.objectCreator")

# Answers to `generateAccessToken` that stay the same until an operator changes IAM.
_REFUSALS = (403, 404)

_renewing = threading.Lock()


@dataclass(frozen=True, slots=True)
class StorageCapability:
    """Token for the objects below `prefix`, a folder URI with a slash at its end."""

    token: str
    expires_at: dt.datetime
    prefix: str
    project: str


class CapabilityRefused(StorageError):
    """Google refuses the capability account; only an operator can change that."""


class _HeldToken(Credentials):
    """Credentials that keep their token, because downscoping renews its source every time."""

    def __init__(self, token: str, expiry: dt.datetime) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = token
        self.expiry = expiry

    def refresh(self, request: object) -> None:
        """Do nothing."""


def mint(folder: str) -> StorageCapability:
    """Return a capability for `folder` (`gs://bucket/a/b`). Raises StorageError, CapabilityRefused."""
    bucket = urlsplit(folder).netloc
    prefix = f"{folder.rstrip('/')}/"
    try:
        narrowed = downscoped.Credentials(  # type: ignore[no-untyped-call]
            source_credentials=_account_token(),
            credential_access_boundary=_boundary(bucket, prefix.removeprefix(f"gs://{bucket}/")),
        )
        narrowed.refresh(request())
        _, project = own_credentials()
    except (GoogleAuthError, ValueError) as error:  # the latter: an answer that is not JSON
        raise StorageError(f"No capability for {prefix}: {error}") from error
    assert narrowed.expiry, "a refresh sets it"
    expires_at = narrowed.expiry.replace(tzinfo=dt.UTC)
    return StorageCapability(str(narrowed.token), expires_at, prefix, project)


def mint_id_token(account: str, audience: str) -> str:
    """Return an ID token of `account` for a service, valid for an hour. Raises StorageError.

    It is for a validator outside Google Cloud, which has no metadata server to ask for one. This
    process needs `iam.serviceAccounts.getOpenIdToken` on the account.
    """
    try:
        credentials = impersonated_credentials.IDTokenCredentials(  # type: ignore[no-untyped-call]
            _account(account), target_audience=audience, include_email=True
        )
        credentials.refresh(request())
    except (GoogleAuthError, ValueError) as error:
        raise StorageError(f"No ID token of {account} for {audience}: {error}") from error
    return str(credentials.token)


@cache
def own_credentials() -> tuple[Credentials, str]:
    """Return the credentials of this process and its project. Raises GoogleAuthError."""
    credentials, project = google.auth.default(scopes=[_CLOUD_SCOPE])
    return credentials, str(project or "")


@cache
def request() -> Any:
    """Return the transport for all token requests of the process: one session, short timeouts."""
    transport = Request(session=requests.Session())
    return partial(transport, timeout=_TIMEOUT_SECONDS)


@cache
def _account(email: str) -> Credentials:
    source, _ = own_credentials()
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        source_credentials=source,
        target_principal=email,
        target_scopes=[_STORAGE_SCOPE],
        lifetime=int(_LIFETIME.total_seconds()),
    )


def renew_account() -> None:
    """Renew the capability account's token now, which shows that this process may.

    Raises GoogleAuthError, CapabilityRefused.
    """
    with _renewing:
        _renew(_account(settings.CAPABILITY_ACCOUNT))


def _account_token() -> _HeldToken:
    """Return the capability account's token, renewed if it ends soon."""
    if not settings.CAPABILITY_ACCOUNT:
        raise ValueError("set CAPABILITY_ACCOUNT to an account that has storage roles only")
    account = _account(settings.CAPABILITY_ACCOUNT)
    with _renewing:
        now = timezone.now().replace(tzinfo=None)
        if account.expiry is None or account.expiry - now < _LEAST_LIFETIME:
            _renew(account)
        assert account.expiry, "a refresh sets it"
        return _HeldToken(str(account.token), account.expiry)


def _renew(account: Credentials) -> None:
    try:
        account.refresh(request())  # type: ignore[no-untyped-call]
    except RefreshError as error:
        if _status(error) in _REFUSALS:
            raise CapabilityRefused(_refusal(settings.CAPABILITY_ACCOUNT, error)) from error
        raise


def _status(error: RefreshError) -> int:
    """Return the HTTP status in the answer to `generateAccessToken`, or 0."""
    try:
        return int(json.loads(error.args[1])["error"]["code"])
    except (IndexError, KeyError, TypeError, ValueError):
        return 0


def _refusal(account: str, error: RefreshError) -> str:
    source, _ = own_credentials()
    caller = getattr(source, "service_account_email", "") or "the worker's account"
    reason = json.loads(error.args[1])["error"].get("message", "no reason given")
    return (
        f"{caller} may not make tokens of the CAPABILITY_ACCOUNT {account}: it needs the permission"
        " iam.serviceAccounts.getAccessToken on it. Grant the role"
        f" roles/iam.serviceAccountTokenCreator on {account} to {caller}. Google answered: {reason}"
    )


def _boundary(bucket: str, prefix: str) -> downscoped.CredentialAccessBoundary:
    # CEL string literals: our object names have neither quotes nor backslashes.
    objects = f"projects/_/buckets/{bucket}/objects/{prefix}"
    # Cloud Storage answers 404 for a missing object only to callers that may list; others get 403.
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
