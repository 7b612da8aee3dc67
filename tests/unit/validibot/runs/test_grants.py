"""Launches of custom validators: the secrets and the network that they get, and what is kept of them."""

import json
from collections.abc import Mapping

import pytest

from tests.unit.validibot.runs.scripted import (
    ScriptedBackend,
    ScriptedProvider,
    callback_of,
    store_output,
)
from validators.sdk.manifest import NetworkReach
from validibot.runs import callback
from validibot.runs.backends.base import LaunchRequest
from validibot.runs.execute import execute
from validibot.runs.models import Attempt, Run, RunEvidence
from validibot.workflows.models import Validator, ValidatorSecret
from validibot.workflows.validator_secrets import SecretSource, set_secrets

KEY = "never-to-be-seen"


@pytest.fixture
def custom_run(container_run: Run) -> Run:
    """A run of a custom validator with a secret, whose second value is stored."""
    Validator.objects.update(
        organisation=container_run.organisation,
        network="none",
        secrets=[{"name": "API_KEY", "title": "", "description": ""}],
    )
    for value in ("first", KEY):
        set_secrets(Validator.objects.get(), {"API_KEY": value}, source=SecretSource.DATABASE)
    return container_run


def ended(run: Run, request: LaunchRequest) -> Mapping[str, object]:
    """Return what evidence has of the step, once its validator has answered."""
    store_output(request)
    callback.handle(callback_of(request).model_dump_json().encode())
    contents = RunEvidence.objects.get(run=run).contents
    assert KEY not in json.dumps(contents)
    step: Mapping[str, object] = contents["steps"][0]
    return step


def test_execution_gets_secrets_and_evidence_their_numbers(
    provider: ScriptedProvider, custom_run: Run
) -> None:
    execute(custom_run.pk)

    [request] = provider.requests
    assert (request.secrets, request.network) == ({"API_KEY": KEY}, NetworkReach.NONE)
    assert KEY not in repr(request)
    step = ended(custom_run, request)
    assert (step["network"], step["secrets"]) == ("none", {"API_KEY": "value 2"})


def test_provider_decides_which_references_evidence_has(
    provider: ScriptedProvider, custom_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was made before the reference changed."""
    monkeypatch.setattr(ScriptedBackend, "secret_source", SecretSource.SECRET_MANAGER)
    ValidatorSecret.objects.update(reference="projects/p/secrets/key/versions/2")
    provider.secrets = {"API_KEY": "projects/p/secrets/key/versions/1"}

    execute(custom_run.pk)

    assert not provider.requests[0].secrets
    assert ended(custom_run, provider.requests[0])["secrets"] == provider.secrets


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"sealed_value": ""}, "`secrets.API_KEY` has no value. An owner or admin enters it"),
        ({"sealed_value": "broken"}, "cannot be decrypted with this SECRET_KEY. An owner or admin"),
    ],
)
def test_unusable_secret_ends_run_with_next_step(
    provider: ScriptedProvider, custom_run: Run, change: dict[str, str], error: str
) -> None:
    ValidatorSecret.objects.update(**change)

    execute(custom_run.pk)

    custom_run.refresh_from_db()
    assert (custom_run.result, provider.requests) == ("ERROR", [])
    assert error in custom_run.error
    assert Attempt.objects.get().state == "FAILED"


def test_backend_without_images_refuses_custom_validator(
    provider: ScriptedProvider, custom_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedBackend, "runs_images", False)

    execute(custom_run.pk)

    custom_run.refresh_from_db()
    assert "takes no images of organisations" in custom_run.error
    assert provider.requests == []
