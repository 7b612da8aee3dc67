"""Access of this process to what it uses: `deploy verify` asks web and worker for it.

Each check makes a real call with the account of the process, and leaves nothing behind. So a role that
is missing is named, with the refusal, before a run needs it.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any
from uuid import uuid4

import psycopg
import requests
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.http import HttpRequest
from django.tasks import task
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials

from validators.sdk.storage import BucketAccess, StorageOptions, open_storage
from validibot.accounts.models import Organisation
from validibot.core.health import CONNECT_SECONDS
from validibot.core.problems import ApiError
from validibot.core.storage import get_storage
from validibot.core.storage.capability import (
    mint,
    mint_id_token,
    own_credentials,
    renew_account,
)
from validibot.runs.backends import get_backend
from validibot.worker.views import door
from validibot.workflows.ai import endpoint_of
from validibot.workflows.models import Validator

_ANSWER_SECONDS = 20.0
_SHOWN = 300
_FOLDER = "checks"

type AccessCheck = tuple[str, Callable[[], Any]]


@task
def check_delivery() -> None:
    """Do nothing: that the queue took the task is what was asked."""


@door
def access(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Make all checks of this process for the scheduler's account; nobody else may ask.

    The answer has the name of each check, with an empty text or what failed. With `?org=SLUG` it has
    instead whether reviews of that organisation have a language model to ask.
    """
    if not caller or caller != settings.SCHEDULER_ACCOUNT:
        raise ApiError(403, "PERMISSION_DENIED", "Only the scheduler's account may ask.")
    if slug := request.GET.get("org"):
        organisation = Organisation.objects.filter(slug=slug).first()
        has_model = organisation is not None and endpoint_of(organisation) is not None
        return 200, {"language_model": has_model}
    return 200, {"access": {name: _failure(check) for name, check in _checks()}}


def _failure(check: Callable[[], Any]) -> str:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - of a driver, a network, a client of a cloud
        return " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
    return ""


def _checks() -> Iterator[AccessCheck]:
    """Yield the checks of what web and worker use, then those of the worker."""
    yield "database", _connect
    for name in settings.DEPLOYED_SECRETS:
        yield f"secret {name}", partial(_read_secret, name)
    for queue in settings.TASK_QUEUES:
        yield f"queue {queue}", check_delivery.using(queue_name=queue).enqueue
    yield "files", _use_files
    if settings.APP_ROLE != "worker":
        return
    yield "media", _use_media
    yield "capability account", renew_account
    yield "capability", _use_capability
    if caller := getattr(get_backend().options, "caller_account", ""):
        yield "caller account", partial(mint_id_token, caller, settings.WORKER_URL)
    shipped = Validator.objects.exclude(job="").filter(organisation=None, is_active=True)
    for job in sorted(set(shipped.values_list("job", flat=True))):
        yield f"job {job}", partial(get_backend().check_job, job)
    if settings.CUSTOM_VALIDATORS:
        yield "custom validators", get_backend().check_preparation


def _connect() -> None:
    """Connect anew: the role is asked for when a connection begins."""
    parameters = connection.get_connection_params() | {"connect_timeout": CONNECT_SECONDS}
    psycopg.connect(**parameters).close()


def _read_secret(name: str) -> None:
    """Read the value of a secret as Cloud Run does at the start of an instance; drop it."""
    _, project = own_credentials()
    secret = f"projects/{project}/secrets/{name}/versions/latest:access"
    url = f"https://secretmanager.googleapis.com/v1/{secret}"
    answer = _session().get(url, timeout=_ANSWER_SECONDS)
    if not answer.ok:
        raise ApiError(answer.status_code, "NOT_READ", answer.json()["error"]["message"])


@cache
def _session() -> AuthorizedSession:
    """Return the session of this process, whose connection is kept."""
    return AuthorizedSession(own_credentials()[0])  # type: ignore[no-untyped-call]


def _use_files() -> None:
    uri = f"{settings.DATA_ROOT}/{_FOLDER}/{uuid4()}"
    storage = get_storage(uri)
    version = storage.create(uri, b"access", mime_type="text/plain").version
    try:
        storage.read(uri, version=version, limit=100)
    finally:
        storage.delete(uri)


def _use_media() -> None:
    """Write a file of public media, and read it by its address as everybody may, where it has one."""
    name = default_storage.save(f"{_FOLDER}/{uuid4()}", ContentFile(b"access"))
    try:
        url = default_storage.url(name)
        if url.startswith("https:"):
            requests.get(url, timeout=_ANSWER_SECONDS).raise_for_status()
    finally:
        default_storage.delete(name)


def _use_capability() -> None:
    """Write and read with the token that a validator would get. The worker deletes the object."""
    folder = f"{settings.DATA_ROOT}/{_FOLDER}/{uuid4()}"
    found = mint(folder)
    token = Credentials(found.token)  # type: ignore[no-untyped-call]
    uri = f"{folder}/object"
    access = BucketAccess(credentials=token, project=found.project, prefix=found.prefix)
    storage = open_storage(uri, StorageOptions(access=access, retry_seconds=_ANSWER_SECONDS))
    version = storage.create(uri, b"access", mime_type="text/plain").version
    try:
        storage.read(uri, version=version, limit=100)
    finally:
        get_storage(uri).delete(uri)
