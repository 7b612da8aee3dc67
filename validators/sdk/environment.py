"""Environment variables of a validator, read once into a typed value, and its secrets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_GRANT = {
    "token": "VALIDIBOT_GCS_ACCESS_TOKEN",
    "expires_at": "VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY",
    "prefix": "VALIDIBOT_GCS_ALLOWED_PREFIX",
    "project": "VALIDIBOT_GCS_PROJECT_ID",
    "refresh_url": "VALIDIBOT_GCS_CAPABILITY_REFRESH_URL",
}
_TRUE = ("1", "true", "yes", "on")


class EnvironmentInvalid(Exception):
    """A variable is missing or invalid; the operator must correct it."""


@dataclass(frozen=True, kw_only=True)
class CapabilityGrant:
    """Token for the files below `prefix`, renewed at `refresh_url`."""

    token: str
    expires_at: datetime
    prefix: str
    project: str
    refresh_url: str


@dataclass(frozen=True, kw_only=True)
class ValidatorEnvironment:
    """Settings that the platform passes to a validator."""

    input_uri: str
    output_uri: str | None = None
    deployment_target: str | None = None
    token_audience: str | None = None
    worker_api_key: str | None = None
    worker_id_token: str | None = None
    execution: str | None = None
    scratch_root: Path | None = None
    traceparent: str | None = None
    version: str | None = None
    sentry_dsn: str | None = None
    grant: CapabilityGrant | None = None


def read_secret(name: str) -> str:
    """Return the value of a secret of the manifest. Raises KeyError."""
    return os.environ[name]  # noqa: TID251 - secrets are variables


def read_environment(arguments: list[str]) -> ValidatorEnvironment:
    """Read the environment; the first argument may be the input URI. Raises EnvironmentInvalid."""
    variables = os.environ  # noqa: TID251 - this module reads them for the SDK
    input_uri = variables.get("VALIDIBOT_INPUT_URI") or next(iter(arguments), "")
    if not input_uri:
        raise EnvironmentInvalid(
            "VALIDIBOT_INPUT_URI is not set; give the URI of an input.json (gs:// or file://) "
            "there or as the first argument"
        )
    scratch = variables.get("VALIDIBOT_ATTEMPT_SCRATCH_ROOT")
    return ValidatorEnvironment(
        input_uri=input_uri,
        output_uri=variables.get("VALIDIBOT_OUTPUT_URI") or None,
        deployment_target=variables.get("DEPLOYMENT_TARGET") or None,
        token_audience=variables.get("TASK_OIDC_AUDIENCE") or None,
        worker_api_key=variables.get("WORKER_API_KEY") or None,
        worker_id_token=variables.get("VALIDIBOT_WORKER_ID_TOKEN") or None,
        execution=variables.get("VALIDIBOT_EXECUTION") or None,
        scratch_root=Path(scratch) if scratch else None,
        traceparent=variables.get("TRACEPARENT") or None,
        version=variables.get("VALIDATOR_VERSION") or None,
        sentry_dsn=variables.get("SENTRY_DSN") or None,
        grant=_grant(variables),
    )


def _grant(variables: Mapping[str, str]) -> CapabilityGrant | None:
    given = {field: variables.get(name, "") for field, name in _GRANT.items()}
    if not any(given.values()):
        if variables.get("VALIDIBOT_GCS_CAPABILITY_REQUIRED", "").lower() in _TRUE:
            raise EnvironmentInvalid(
                "VALIDIBOT_GCS_CAPABILITY_REQUIRED is set, but no capability is given"
            )
        return None
    if missing := [_GRANT[field] for field, text in given.items() if not text]:
        raise EnvironmentInvalid(f"{missing[0]} is not set, but other capability variables are")
    if not given["refresh_url"].startswith("https://"):
        raise EnvironmentInvalid(f"{_GRANT['refresh_url']} must begin with https://")
    try:
        expires_at = datetime.fromisoformat(given.pop("expires_at"))
    except ValueError as error:
        raise EnvironmentInvalid(f"{_GRANT['expires_at']}: {error}") from error
    if expires_at.tzinfo is None:
        raise EnvironmentInvalid(f"{_GRANT['expires_at']} has no time zone")
    return CapabilityGrant(expires_at=expires_at, **given)
