"""Errors of a deployment, each one sentence with the resource and the next command."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.api_core.exceptions import (
    AlreadyExists,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    ResourceExhausted,
    RetryError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthenticated,
)
from google.auth.exceptions import GoogleAuthError

_API_DISABLED = re.compile(r"has not been used in project|is disabled|SERVICE_DISABLED")
_BILLING = re.compile(r"billing", re.IGNORECASE)
_LOG_IN = "Log in with `gcloud auth application-default login`, then repeat the command."
_ENABLE_API = (
    "Enable it with `gcloud services enable API.googleapis.com --project=PROJECT`, wait two minutes, "
    "then run `apply` again."
)
_LINK_BILLING = (
    "Link an account with `gcloud billing projects link PROJECT --billing-account=ACCOUNT`, then "
    "run `apply` again."
)
_GIVE_PERMISSION = "Give the deployer that permission (docs/production.md lists its roles), then run `apply` again."
_CHOOSE_NAME = "The name is taken: choose another one in the stage file, then run `plan`."
_RAISE_QUOTA = (
    "Ask for a larger quota on the console's page IAM & Admin > Quotas, then run `apply` again."
)


class DeployError(Exception):
    """A sentence for the operator: what is wrong with which resource, and the next command."""


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Raise DeployError for an error of Google's clients while they work on a resource."""
    try:
        yield
    except RetryError as error:
        raise DeployError(f"{address}: {_sentence(error.cause or error)}") from error
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise DeployError(f"{address}: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    text = " ".join(str(getattr(error, "message", error)).split()).rstrip(".")
    return f"{text}. {_next_step(error, text)}"


def _next_step(error: Exception, text: str) -> str:
    """Return the next command for an error; Google's own text has said what is wrong."""
    no_login = isinstance(error, GoogleAuthError | Unauthenticated) or _no_token(error)
    steps = (
        (no_login, _LOG_IN),
        (_API_DISABLED.search(text), _ENABLE_API),
        (_BILLING.search(text), _LINK_BILLING),
        (isinstance(error, Forbidden), _GIVE_PERMISSION),
        (isinstance(error, Conflict | AlreadyExists), _CHOOSE_NAME),
        (isinstance(error, ResourceExhausted | TooManyRequests), _RAISE_QUOTA),
        (isinstance(error, ServiceUnavailable), "Run `apply` again, which continues here."),
    )
    return next((step for applies, step in steps if applies), "Mend it, then run `apply` again.")


def _no_token(error: Exception) -> bool:
    """Return whether gRPC sent nothing because the credentials gave no token."""
    cause = getattr(error, "grpc_status_code", None)
    return cause == grpc.StatusCode.UNAVAILABLE and "Getting metadata from plugin" in str(error)
