"""The calls that the preflight makes to Google, as values: what a dry run prints is what is sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import google.auth
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from devenv.tunnel.config import TunnelConfig

CERTIFICATES = "https://www.googleapis.com/oauth2/v1/certs"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT = 15.0
_ME = '--member "user:$(gcloud config get account)"'


@dataclass(frozen=True, slots=True)
class GoogleCall:
    method: str
    url: str
    body: Mapping[str, Any] | None = None


class CallFailed(Exception):
    """Google did not do it; `status` is 0 where there was no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Need:
    """Permissions that the developer has to have on a resource, and the command that grants them.

    `optional`: without them something cannot be checked, but all works.
    """

    resource: str
    call: GoogleCall
    permissions: tuple[str, ...]
    fix: str
    optional: bool = False


class Google:
    """Google's REST APIs, called as the developer: with application default credentials."""

    def __init__(self) -> None:
        """Take the credentials of this machine. Raises CallFailed if it has none."""
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
        except GoogleAuthError as error:
            raise CallFailed(0, str(error)) from error
        session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        self._request: Callable[..., requests.Response] = session.request
        self.who = str(getattr(credentials, "service_account_email", "") or "the user of gcloud")

    def send(self, call: GoogleCall) -> dict[str, Any]:
        """Send a call and return its answer. Raises CallFailed."""
        try:
            answer = self._request(call.method, call.url, json=call.body, timeout=_TIMEOUT)
        except (requests.RequestException, GoogleAuthError) as error:
            raise CallFailed(0, brief(error)) from error
        if not answer.ok:
            raise CallFailed(answer.status_code, _message(answer))
        try:
            data = answer.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise CallFailed(answer.status_code, "The answer is not a JSON object.")
        return data


def needs(config: TunnelConfig) -> list[Need]:
    """Return everything that web and worker do in the developer's name."""
    project, region = config.project, config.region
    place = f"projects/{project}/locations/{region}"
    queue = f"https://cloudtasks.googleapis.com/v2/{place}/queues/{config.queue}"
    return [
        _need(
            f"queue {config.queue}",
            queue,
            ("cloudtasks.tasks.create",),
            f"gcloud tasks queues add-iam-policy-binding {config.queue} --location {region} "
            f"--project {project} {_ME} --role roles/cloudtasks.enqueuer",
        ),
        *(_job(config, job) for job in config.jobs),
        _need(
            f"project {project}",
            f"https://cloudresourcemanager.googleapis.com/v3/projects/{project}",
            ("run.executions.get", "run.executions.list", "run.executions.cancel"),
            f"gcloud projects add-iam-policy-binding {project} {_ME} --role roles/run.developer",
        ),
        _bucket(config),
        _account(
            config,
            config.tasks_account,
            "iam.serviceAccounts.actAs",
            "roles/iam.serviceAccountUser",
        ),
        _account(
            config,
            config.storage_account,
            "iam.serviceAccounts.getAccessToken",
            "roles/iam.serviceAccountTokenCreator",
        ),
        _account(
            config,
            config.tasks_account,
            "iam.serviceAccounts.getOpenIdToken",
            "roles/iam.serviceAccountOpenIdTokenCreator",
            optional=True,
        ),
    ]


def id_token(email: str, audience: str) -> GoogleCall:
    """Ask for an ID token of a service account, which takes a role on that account."""
    return GoogleCall(
        "POST",
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
        f"{quote(email)}:generateIdToken",
        {"audience": audience, "includeEmail": True},
    )


def _need(resource: str, url: str, permissions: tuple[str, ...], fix: str) -> Need:
    call = GoogleCall("POST", f"{url}:testIamPermissions", {"permissions": list(permissions)})
    return Need(resource, call, permissions, fix)


def _job(config: TunnelConfig, job: str) -> Need:
    return _need(
        f"job {job}",
        f"https://run.googleapis.com/v2/projects/{config.project}/locations/{config.region}"
        f"/jobs/{job}",
        ("run.jobs.run", "run.jobs.runWithOverrides"),
        f"gcloud run jobs add-iam-policy-binding {job} --region {config.region} "
        f"--project {config.project} {_ME} --role roles/run.jobsExecutorWithOverrides",
    )


def _bucket(config: TunnelConfig) -> Need:
    permissions = tuple(f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list"))
    query = urlencode([("permissions", permission) for permission in permissions])
    base = f"https://storage.googleapis.com/storage/v1/b/{config.bucket}/iam/testPermissions"
    return Need(
        f"bucket {config.bucket}",
        GoogleCall("GET", f"{base}?{query}"),
        permissions,
        f"gcloud storage buckets add-iam-policy-binding gs://{config.bucket} {_ME} "
        "--role roles/storage.objectUser",
    )


def _account(
    config: TunnelConfig, email: str, permission: str, role: str, *, optional: bool = False
) -> Need:
    url = f"https://iam.googleapis.com/v1/projects/{config.project}/serviceAccounts/{quote(email)}"
    return Need(
        f"account {email}",
        GoogleCall("POST", f"{url}:testIamPermissions", {"permissions": [permission]}),
        (permission,),
        f"gcloud iam service-accounts add-iam-policy-binding {email} --project {config.project} "
        f"{_ME} --role {role}",
        optional,
    )


def brief(error: Exception) -> str:
    """Return why there was no answer, without the layers of libraries that it came through."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return str(reason).rpartition("): ")[2][:200] or type(error).__name__


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
