"""Secrets and networks of custom validators: what may be asked for, entered and seen."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tests.factories import MembershipFactory, OrganisationFactory
from validators.sdk.manifest import ManifestInvalid, parse_manifest
from validibot.accounts.models import AuditEntry, Role
from validibot.runs import registration
from validibot.runs.backends.base import JobDefinition
from validibot.runs.grants import refusals
from validibot.runs.registration import prepare_validator
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.custom_validators import register
from validibot.workflows.models import JobState, Validator, ValidatorSecret
from validibot.workflows.validator_secrets import SecretSource, missing_secrets, set_secrets

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[4]
MANIFEST = (ROOT / "examples/text_limits/validator.toml").read_text()
IMAGE = f"registry.example.org/team/text-limits@sha256:{'a' * 64}"
SECRETS = '[secrets.API_KEY]\ntitle = "Key of the service"\ndescription = "Of <i>it</i>."\n\n[secrets.SECOND]\n'
KEY = "never-to-be-seen"
REFERENCE = "projects/p/secrets/api-key/versions/3"


def manifest_with(*lines: str) -> str:
    return MANIFEST.replace("[budgets]", "\n".join([*lines, "[budgets]"]), 1)


@pytest.fixture
def validator() -> Validator:
    """A version with two secrets, whose values are in the database."""
    organisation = OrganisationFactory.create()
    text = manifest_with('network = "none"', SECRETS)
    return register(organisation, manifest=text, image=IMAGE, roles=[], refusals=refusals)


def state_of(validator: Validator) -> str:
    validator.refresh_from_db()
    return validator.job_state


def store(validator: Validator, **options: Any) -> bool:
    given: dict[str, Any] = {"given": {}, "source": SecretSource.DATABASE} | options
    return set_secrets(validator, **given)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('network = "lan"', "`network`: Input should be 'none', 'platform' or 'internet'"),
        ("[secrets.PATH]", "`secrets.PATH`: this name may not be used for a secret"),
        ("[secrets.VALIDIBOT_RUN_ID]", "names that begin with VALIDIBOT_ may not be used"),
        ("[secrets.PYTHONPATH]", "names that begin with PYTHON"),
        ("[secrets.api_key]", "`secrets.api_key`: String should match pattern"),
        ('[secrets.API_KEY]\nvalue = "3"', "`secrets.API_KEY.value`: Extra inputs"),
        ("\n".join(f"[secrets.A{number}]" for number in range(21)), "at most 20 items"),
    ],
)
def test_bad_access_in_manifest_is_refused_with_its_place(lines: str, message: str) -> None:
    with pytest.raises(ManifestInvalid, match=message):
        parse_manifest(manifest_with(lines))


def test_manifest_of_the_product_has_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "validator.toml").write_text(manifest_with(SECRETS))

    with pytest.raises(ManifestInvalid, match="`secrets` is for validators that an organisation"):
        sync_validators(tmp_path)


def test_version_waits_for_its_secrets_and_counts_their_values(validator: Validator) -> None:
    assert (validator.network, validator.secret_names) == ("none", ["API_KEY", "SECOND"])
    assert state_of(validator) == JobState.INCOMPLETE

    store(validator, given={"API_KEY": "first"})
    assert state_of(validator) == JobState.INCOMPLETE
    store(validator, given={"API_KEY": KEY, "SECOND": "2"})
    assert state_of(validator) == JobState.PENDING
    assert not store(validator)
    store(validator, forget=["SECOND"])

    assert state_of(validator) == JobState.INCOMPLETE
    assert missing_secrets(validator, SecretSource.DATABASE) == ["SECOND"]
    rows = {row.name: row for row in ValidatorSecret.objects.all()}
    assert (rows["API_KEY"].value, rows["API_KEY"].label) == (KEY, "value 2")
    assert KEY not in rows["API_KEY"].sealed_value
    store(validator, given={"SECOND": "3"})
    assert ValidatorSecret.objects.get(name="SECOND").number == 2


def test_audit_log_has_numbers_and_references_only(
    validator: Validator, settings: Settings
) -> None:
    settings.GOOGLE_CLOUD_PROJECT = "p"
    store(validator, given={"API_KEY": KEY})
    store(validator, given={"API_KEY": REFERENCE}, source=SecretSource.SECRET_MANAGER)

    entries = AuditEntry.objects.filter(action="validator.secrets_changed").order_by("pk")
    assert [entry.changes for entry in entries] == [
        {"API_KEY": [None, "value 1"]},
        {"API_KEY": ["value 1", REFERENCE]},
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("OTHER", "x", "The manifest has no secret 'OTHER'; its secrets: API_KEY, SECOND"),
        ("API_KEY", "x" * 4001, "The value has 4,001 characters; at most 4,000"),
        ("API_KEY", "a\nb", "a line break or another control character"),
        ("API_KEY", "a\0b", "a line break or another control character"),
    ],
)
def test_bad_value_is_refused_without_being_told(
    validator: Validator, name: str, text: str, message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        store(validator, given={name: text})

    assert set(refused.value.message_dict) == {name}
    assert not ValidatorSecret.objects.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api-key", "is not projects/p/secrets/NAME/versions/NUMBER"),
        ("projects/p/secrets/api-key/versions/latest", "Name a version by its number"),
        ("projects/p/secrets/api-key/versions/0", "is not projects/p/secrets"),
        (f"{REFERENCE}\n", "is not projects/p/secrets"),
        ("projects/q/secrets/api-key/versions/3", "of project q; validators read those of p only"),
    ],
)
def test_bad_reference_is_refused(
    validator: Validator, settings: Settings, text: str, message: str
) -> None:
    settings.GOOGLE_CLOUD_PROJECT = "p"

    with pytest.raises(ValidationError, match=message):
        store(validator, given={"API_KEY": text}, source=SecretSource.SECRET_MANAGER)


def test_job_made_from_older_references_is_made_again(
    validator: Validator, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference changes while the provider makes the job."""
    settings.GOOGLE_CLOUD_PROJECT = "p"
    made: list[JobDefinition] = []
    newer = REFERENCE.replace("3", "4")

    def prepare(self: object, job: JobDefinition) -> None:
        made.append(job)
        store(validator, given={"API_KEY": newer}, source=SecretSource.SECRET_MANAGER)

    backend = "validibot.runs.backends.mock.backend.MockBackend"
    monkeypatch.setattr(f"{backend}.secret_source", SecretSource.SECRET_MANAGER)
    monkeypatch.setattr(f"{backend}.prepare", prepare)
    given = {"API_KEY": REFERENCE, "SECOND": REFERENCE}
    store(validator, given=given, source=SecretSource.SECRET_MANAGER)

    prepare_validator.func(validator.pk)
    assert state_of(validator) == JobState.PENDING
    prepare_validator.func(validator.pk)

    assert state_of(validator) == JobState.READY
    assert [job.secrets["API_KEY"] for job in made] == [REFERENCE, newer]


def test_secret_that_is_entered_during_the_preparation_is_seen(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is forgotten before the task looks, and entered again before it writes what it saw."""
    store(validator, given={"API_KEY": KEY, "SECOND": KEY})
    Validator.objects.update(job_state=JobState.PENDING)
    ValidatorSecret.objects.filter(name="SECOND").delete()

    def entered_later(*given: Any) -> list[str]:
        missing = missing_secrets(*given)
        if missing:
            store(validator, given={"SECOND": KEY})
        return missing

    monkeypatch.setattr(registration, "missing_secrets", entered_later)
    prepare_validator.func(validator.pk)
    assert state_of(validator) == JobState.PENDING
    prepare_validator.func(validator.pk)

    assert state_of(validator) == JobState.READY


def test_admin_enters_secrets_which_no_page_shows(
    client: Client,
    validator: Validator,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    member = MembershipFactory.create(role=Role.ADMIN, organisation=validator.organisation)
    client.force_login(member.user)
    own = f"/app/orgs/{member.organisation.slug}/settings/validators/{validator.pk}/"
    page = client.get(own).content.decode()
    refused = client.post(f"{own}secrets/", {"API_KEY": f"{KEY}\n{KEY}"})
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{own}secrets/", {"API_KEY": KEY, "SECOND": KEY, "OTHER": KEY})
    after = client.get(own).content.decode()
    catalogue = client.get(f"/app/orgs/{member.organisation.slug}/validators/text-limits/")

    assert "Key of the service (API_KEY)" in page
    assert "Of &lt;i&gt;it&lt;/i&gt;. No value yet." in page
    assert "Secrets missing" in page
    assert refused.status_code == 422
    assert "control character" in refused.content.decode()
    assert KEY not in refused.content.decode() + after + catalogue.content.decode()
    assert "Value 1 is stored and never shown" in after
    assert "API_KEY, SECOND" in catalogue.content.decode()
    assert state_of(validator) == JobState.READY
    assert KEY not in json.dumps(list(AuditEntry.objects.values_list("changes", flat=True)))
    client.post(f"{own}secrets/", {"forget_SECOND": "on"})
    assert state_of(validator) == JobState.INCOMPLETE
