"""Custom validators: what may be registered, who sees it, and the settings of its steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import RestrictedError
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tests.factories import (
    MembershipFactory,
    OrganisationFactory,
    StepFactory,
    ValidatorFactory,
    WorkflowFactory,
)
from validibot.accounts.models import AuditEntry, Organisation, Role
from validibot.runs.backends.base import ImageNeeds, JobDefinition, JobRefused, StateUnavailable
from validibot.runs.deletion import delete_organisation
from validibot.runs.grants import refusals
from validibot.runs.purge import purge
from validibot.runs.registration import prepare_validator, request_preparation
from validibot.web.editor.config_schema import SettingKind, settings_of
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.checks import config_problems
from validibot.workflows.custom_validators import register, set_archived, set_roles
from validibot.workflows.models import JobState, Validator
from validibot.workflows.validator_secrets import SecretSource

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[4]
MANIFEST = (ROOT / "examples/text_limits/validator.toml").read_text()
IMAGE = f"registry.example.org/team/text-limits@sha256:{'a' * 64}"


@pytest.fixture
def organisation() -> Organisation:
    made: Organisation = OrganisationFactory.create()
    return made


def registered(organisation: Organisation, *, version: str = "1.0.0", **changes: Any) -> Validator:
    text = MANIFEST.replace('"1.0.0"', f'"{version}"')
    given: dict[str, Any] = {"manifest": text, "image": IMAGE, "roles": [], "refusals": refusals}
    return register(organisation, **given | changes)


def ready(organisation: Organisation, **changes: Any) -> Validator:
    made = registered(organisation, **changes)
    Validator.objects.filter(pk=made.pk).update(job_state=JobState.READY)
    return made


def test_registered_validator_has_its_manifest_image_and_own_job(
    organisation: Organisation,
) -> None:
    made = registered(organisation)

    made.refresh_from_db()
    assert (made.slug, made.image, made.job) == ("text-limits", IMAGE, f"custom-{made.pk}")
    assert (made.timeout_seconds, made.memory_mb) == (60, 512)
    assert made.job_state == JobState.PENDING
    assert made.settings_schema["required"] == ["max_words"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("slug = ", "slug ", r"is not TOML: .*line 3"),
        ('title = "Text limits"', "", "`title`: Field required"),
        ("memory_mb = 512", "memory_mb = 5000", "`budgets.memory_mb` is 5000; at most 4096"),
        ("timeout_seconds = 60", 'timeout_seconds = "60"', "`budgets.timeout_seconds`"),
        ("CUSTOM_VALIDATOR", "FMU", "`validation_type` is 'FMU'"),
        ("minimum = 1", "minimal = 1", "`settings.properties.max_words.minimal`"),
        ("minimum = 1", 'pattern = "["', "`settings` is not a valid JSON Schema"),
        ('required = [ "max_words" ]', 'required = [ "max" ]', "names 'max', which is not in"),
        ('slug = "words"', 'slug = "words"\npath = 3', "not TOML|outputs.0.path"),
        ('extension = ".json"', 'extension = "json"', "`accepts.0.extension`"),
    ],
)
def test_bad_manifest_is_refused_with_its_place(
    organisation: Organisation, old: str, new: str, message: str
) -> None:
    assert old in MANIFEST
    with pytest.raises(ValidationError, match=message) as refused:
        registered(organisation, manifest=MANIFEST.replace(old, new, 1))

    assert set(refused.value.message_dict) == {"manifest"}
    assert not Validator.objects.exists()


@pytest.mark.parametrize(
    "image",
    ["", "a/b:1", "a/b", "a/b@sha256:123", f"A/b@sha256:{'a' * 64}", f"{IMAGE} --privileged"],
)
def test_image_without_digest_is_refused(organisation: Organisation, image: str) -> None:
    with pytest.raises(ValidationError, match="by its digest"):
        registered(organisation, image=image)


def test_image_may_have_a_tag_where_the_site_allows_it(
    organisation: Organisation, settings: Settings
) -> None:
    settings.CUSTOM_VALIDATOR_TAGS = True

    assert registered(organisation, image="example/text-limits:1.0.0").image.endswith(":1.0.0")


def test_version_is_registered_once_in_each_organisation(organisation: Organisation) -> None:
    registered(organisation)
    registered(organisation, version="1.0.1")
    registered(OrganisationFactory.create())

    with pytest.raises(ValidationError, match=r"never changes\. Raise the version"):
        registered(organisation, image=IMAGE.replace("a" * 64, "b" * 64))


def test_slug_of_the_product_is_refused(organisation: Organisation) -> None:
    ValidatorFactory.create(slug="text-limits")

    with pytest.raises(ValidationError, match="is that of a validator of the product"):
        registered(organisation)


def test_sync_leaves_custom_validators_alone(
    organisation: Organisation, settings: Settings
) -> None:
    made = registered(organisation)

    sync_validators(settings.VALIDATORS_DIR)

    made.refresh_from_db()
    assert made.is_active


def test_new_steps_are_offered_what_is_ready_active_and_permitted(
    organisation: Organisation,
) -> None:
    def offered(owner: Organisation, role: str) -> bool:
        return Validator.objects.for_new_steps(owner, role).filter(slug="text-limits").exists()

    registered(organisation, version="0.9")
    assert not offered(organisation, Role.OWNER)
    made = ready(organisation, roles=[Role.ADMIN])
    assert offered(organisation, Role.ADMIN)
    assert not offered(organisation, Role.AUTHOR)
    assert not offered(OrganisationFactory.create(), Role.ADMIN)
    set_roles(made, [Role.AUTHOR])
    assert offered(organisation, Role.AUTHOR)
    set_archived(made, archived=True)
    assert not offered(organisation, Role.AUTHOR)


def test_role_that_writes_no_workflows_is_refused(organisation: Organisation) -> None:
    with pytest.raises(ValidationError, match="writes no workflows; choose among: owner"):
        registered(organisation, roles=[Role.VIEWER])


def test_settings_have_a_form_and_are_checked(organisation: Organisation) -> None:
    made = registered(organisation)
    kinds = {each.name: each.kind for each in settings_of(made)}

    problems = config_problems(
        {"max_words": 0, "forbidden": ["a", 3], "wrong": 1},
        validator=made.title,
        engine="",
        validation_type=made.validation_type,
        schema=made.settings_schema,
    )

    assert [*kinds][:2] == ["max_words", "forbidden"]
    assert kinds["max_words"] == SettingKind.INTEGER
    assert kinds["forbidden"] == SettingKind.LINES
    places = {each.place for each in problems}
    assert places == {("max_words",), ("forbidden", 1), ()}
    assert any("wrong" in each.message for each in problems)


def test_organisation_is_deleted_with_its_validators_and_their_steps(
    organisation: Organisation,
) -> None:
    workflow = WorkflowFactory.create(organisation=organisation)
    step = StepFactory.create(
        workflow=workflow, validator=ready(organisation), config={"max_words": 1}
    )

    with pytest.raises(RestrictedError):
        step.validator.delete()
    organisation.delete()

    assert not Validator.objects.exists()


class PreparingBackend:
    """A backend that keeps the jobs it was asked for, or fails."""

    runs_images = True
    secret_source = SecretSource.SECRET_MANAGER

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.jobs: list[JobDefinition] = []
        self.refused: list[str] = []

    def refusals(self, needs: ImageNeeds) -> Iterator[str]:
        yield from self.refused

    def prepare(self, job: JobDefinition) -> None:
        if self.failure:
            raise self.failure
        self.jobs.append(job)

    def job_names(self) -> Iterator[str]:
        yield from ["migrate", *(job.name for job in self.jobs)]

    def remove_job(self, job: str) -> None:
        self.jobs = [each for each in self.jobs if each.name != job]


def test_jobs_of_deleted_validators_are_removed(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CUSTOM_VALIDATORS = True
    kept, provider = registered(organisation), PreparingBackend()
    gone = registered(OrganisationFactory.create())
    monkeypatch.setattr("validibot.runs.registration.get_backend", lambda: provider)
    for each in (kept, gone):
        prepare_validator.func(each.pk)
    assert gone.organisation is not None

    delete_organisation.func(gone.organisation.pk)

    assert [job.name for job in provider.jobs] == [kept.job]
    assert purge()["jobs"] == 0
    kept.delete()
    assert purge()["jobs"] == 1


def test_validator_deleted_during_its_preparation_leaves_no_job(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, provider = registered(organisation), PreparingBackend()
    monkeypatch.setattr("validibot.runs.registration.get_backend", lambda: provider)
    prepare = provider.prepare

    def delete_meanwhile(job: JobDefinition) -> None:
        prepare(job)
        Validator.objects.filter(pk=made.pk).delete()

    monkeypatch.setattr(provider, "prepare", delete_meanwhile)
    prepare_validator.func(made.pk)

    assert provider.jobs == []


def test_job_is_prepared_once(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    made, provider = registered(organisation), PreparingBackend()
    monkeypatch.setattr("validibot.runs.registration.get_backend", lambda: provider)

    prepare_validator.func(made.pk)
    prepare_validator.func(made.pk)

    made.refresh_from_db()
    assert made.job_state == JobState.READY
    assert [(job.name, job.image) for job in provider.jobs] == [(made.job, IMAGE)]


def test_refused_job_says_why_and_an_outage_is_tried_again(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, provider = registered(organisation), PreparingBackend(StateUnavailable("down"))
    monkeypatch.setattr("validibot.runs.registration.get_backend", lambda: provider)

    with pytest.raises(StateUnavailable):
        prepare_validator.func(made.pk)
    provider.failure = JobRefused("Image not found.")
    prepare_validator.func(made.pk)

    made.refresh_from_db()
    assert (made.job_state, made.job_error) == (JobState.REFUSED, "Image not found.")
    request_preparation(made)
    made.refresh_from_db()
    assert (made.job_state, made.job_error) == (JobState.PENDING, "")


@pytest.fixture
def pages(client: Client, settings: Settings) -> str:
    """The address of the settings page of validators, for an admin, on a site that takes them."""
    settings.CUSTOM_VALIDATORS = True
    member = MembershipFactory.create(role=Role.ADMIN)
    client.force_login(member.user)
    return f"/app/orgs/{member.organisation.slug}/settings/validators/"


def test_admin_registers_a_version_and_archives_it(
    client: Client, pages: str, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    sent = {"manifest": MANIFEST, "image": IMAGE, "roles": [Role.AUTHOR]}
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(pages, sent)
    made = Validator.objects.get()
    own = f"{pages}{made.pk}/"

    assert answer.headers["Location"] == own
    assert made.job_state == JobState.READY
    assert "Ready" in client.get(own).content.decode()
    for state in ("archive", "archive", "toggle"):
        client.post(f"{own}archive/", {"state": state})
    assert "Archived" in client.get(pages).content.decode()
    client.post(own, {"roles": [Role.OWNER]})
    made.refresh_from_db()
    assert (made.is_active, made.roles) == (False, [Role.OWNER])
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        *("validator.registered", "validator.archived", "validator.roles_changed"),
    ]
    assert (
        "Text limits"
        in client.get(pages.replace("settings/", "") + "text-limits/").content.decode()
    )


def test_refused_registration_keeps_what_was_typed(client: Client, pages: str) -> None:
    answer = client.post(pages, {"manifest": "slug = 3", "image": "a/b:1", "roles": [Role.AUTHOR]})
    page = answer.content.decode()

    assert answer.status_code == 422
    assert "slug = 3" in page
    assert "`slug`" in page
    assert "by its digest" in page


def test_site_that_takes_no_validators_says_so(
    client: Client, pages: str, settings: Settings
) -> None:
    settings.CUSTOM_VALIDATORS = False

    answer = client.post(pages, {"manifest": MANIFEST, "image": IMAGE, "roles": [Role.AUTHOR]})

    assert answer.status_code == 422
    assert "Ask its operator" in answer.content.decode()
    assert not Validator.objects.exists()
