"""The environment variables of a validator, read once into a typed value."""

import os
from dataclasses import dataclass
from pathlib import Path


class EnvironmentInvalid(Exception):
    """A variable is missing or holds junk; the operator must mend it."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    input_uri: str
    output_uri: str | None = None
    deployment_target: str | None = None
    token_audience: str | None = None
    worker_api_key: str | None = None
    scratch_root: Path | None = None


def read_environment(arguments: list[str]) -> Environment:
    variables = os.environ  # noqa: TID251 - the one place of the SDK that reads them
    input_uri = variables.get("VALIDIBOT_INPUT_URI") or next(iter(arguments), "")
    if not input_uri:
        raise EnvironmentInvalid(
            "VALIDIBOT_INPUT_URI is not set; give the URI of an input.json (gs:// or file://) "
            "there or as the first argument"
        )
    scratch = variables.get("VALIDIBOT_ATTEMPT_SCRATCH_ROOT")
    return Environment(
        input_uri=input_uri,
        output_uri=variables.get("VALIDIBOT_OUTPUT_URI") or None,
        deployment_target=variables.get("DEPLOYMENT_TARGET") or None,
        token_audience=variables.get("TASK_OIDC_AUDIENCE") or None,
        worker_api_key=variables.get("WORKER_API_KEY") or None,
        scratch_root=Path(scratch) if scratch else None,
    )
