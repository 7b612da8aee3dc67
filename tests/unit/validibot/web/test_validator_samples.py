"""Samples of custom validators: their files are kept with a version, and a button runs them."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.factories import MembershipFactory
from tests.unit.validibot.workflows.test_custom_validators import IMAGE, MANIFEST, registered
from validibot.accounts.models import AuditEntry, Membership, Role
from validibot.runs.execute import execute
from validibot.runs.models import Run
from validibot.runs.purge import purge
from validibot.workflows import validator_samples
from validibot.workflows.models import JobState, Validator, ValidatorSample, Workflow
from validibot.workflows.validator_samples import MAX_BYTES, store_files

pytestmark = pytest.mark.django_db
WITHOUT_SAMPLES = MANIFEST.partition("[[samples]]")[0]


@pytest.fixture
def admin(client: Client, settings: Settings) -> Membership:
    """An admin who is signed in, on a site that takes validators."""
    settings.CUSTOM_VALIDATORS = True
    member: Membership = MembershipFactory.create(role=Role.ADMIN)
    client.force_login(member.user)
    return member


def ready(admin: Membership, **changes: Any) -> Validator:
    made = registered(admin.organisation, **changes)
    Validator.objects.update(job_state=JobState.READY)
    return made


def address(validator: Validator) -> str:
    assert validator.organisation
    return f"/app/orgs/{validator.organisation.slug}/settings/validators/{validator.pk}/"


def files(content: Mapping[str, bytes]) -> list[SimpleUploadedFile]:
    return [SimpleUploadedFile(name, data) for name, data in content.items()]


def test_registration_keeps_the_files_of_samples(client: Client, admin: Membership) -> None:
    page = f"/app/orgs/{admin.organisation.slug}/settings/validators/"
    sent = {"manifest": MANIFEST, "image": IMAGE, "roles": [Role.AUTHOR]}

    refused = client.post(page, sent | {"samples": files({"other.json": b"{}"})})
    client.post(page, sent | {"samples": files({"short.json": b'{"text": "a"}'})})

    assert refused.status_code == 422
    assert "names no sample &#x27;other.json&#x27;, but: short.json" in refused.content.decode()
    rows = ValidatorSample.objects.values_list("name", "passes", "settings__max_words", "content")
    assert [(*row[:3], bytes(row[3] or b"")) for row in rows] == [
        ("short", True, 10, b'{"text": "a"}'),
        ("forbidden", False, 10, b'{"text": "a"}'),
    ]


def test_button_runs_a_sample_of_a_version_without_workflows(
    client: Client, admin: Membership
) -> None:
    page = address(ready(admin))
    before = client.get(page).content.decode()
    client.post(f"{page}samples/", {"samples": files({"short.json": b"{}"})})
    passing, failing = ValidatorSample.objects.all()
    answers = [client.post(f"{page}run-sample/", {"id": each.pk}) for each in (passing, failing)]
    runs = [*Run.objects.order_by("created_at")]
    waiting = client.get(answers[0]["Location"]).content.decode()
    for run in runs:
        execute(run.pk)

    assert "no file yet" in before
    assert "Run the sample" not in before
    assert [run.steps.get().step.config for run in runs] == [passing.settings, failing.settings]
    assert {run.source for run in runs} == {"TRIAL"}
    assert page in waiting
    assert "This sample should pass." in waiting
    shown = client.get(page).content.decode()
    # Mocked validators let both pass.
    assert (shown.count("<small>as it should"), shown.count("<small>not as it should")) == (1, 1)
    assert "in 0 workflows" in shown
    assert not Workflow.objects.exists()
    stored = AuditEntry.objects.get(action="validator.samples_stored")
    assert stored.changes == {"samples": ["", "short.json"]}


def test_purge_removes_the_run_and_keeps_the_sample(client: Client, admin: Membership) -> None:
    made = ready(admin)
    store_files(made, {"short.json": b"{}"})
    client.post(f"{address(made)}run-sample/", {"id": ValidatorSample.objects.all()[0].pk})
    execute(Run.objects.get().pk)

    with time_machine.travel(timezone.now() + dt.timedelta(days=2), tick=False):
        counts = purge()

    assert counts["trials"] == 1
    assert not ValidatorSample.objects.exclude(last_trial=None).exists()
    assert ValidatorSample.objects.exclude(content=None).count() == 2
    admin.organisation.delete()
    assert not ValidatorSample.objects.exists()


def test_version_without_samples_keeps_one_file(client: Client, admin: Membership) -> None:
    page = address(ready(admin, manifest=WITHOUT_SAMPLES))
    several = client.post(f"{page}samples/", {"samples": files({"a.json": b"1", "b.json": b"1"})})
    pdf = client.post(f"{page}samples/", {"samples": files({"a.pdf": b"%PDF"})})
    for name in ("a.json", "b.json"):
        client.post(f"{page}samples/", {"samples": files({name: b"{}"})})
    sample = ValidatorSample.objects.get()
    refused = client.post(f"{page}run-sample/", {"id": sample.pk}, follow=True)

    assert (several.status_code, pdf.status_code) == (422, 422)
    assert "the version keeps one file" in several.content.decode()
    assert "it takes: .json" in pdf.content.decode()
    assert (sample.filename, sample.passes) == ("b.json", None)
    # Its settings are required, and only the manifest gives them.
    assert "max_words" in refused.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "The sample has no file yet. Add short.json first."),
        ({"is_active": False}, "is archived. Take it back to run its samples."),
        ({"job_state": JobState.REFUSED}, "cannot run yet; its state is: Refused."),
    ],
)
def test_sample_that_cannot_run_says_why(
    client: Client, admin: Membership, change: dict[str, Any], message: str
) -> None:
    made = ready(admin)
    if change:
        store_files(made, {"short.json": b"{}"})
        Validator.objects.update(**change)

    answer = client.post(
        f"{address(made)}run-sample/", {"id": ValidatorSample.objects.all()[0].pk}, follow=True
    )

    assert message in answer.content.decode()
    assert not Run.objects.exists()


def test_sample_of_another_version_is_refused(client: Client, admin: Membership) -> None:
    made, other = ready(admin), ready(admin, version="2.0.0")
    store_files(other, {"short.json": b"{}"})

    for sent in (other.samples.all()[0].pk, "", "1e9"):
        answer = client.post(f"{address(made)}run-sample/", {"id": sent}, follow=True)
        assert "This version has no such sample." in answer.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "This field is required."),
        ({".hidden": b"{}"}, "cannot be used"),
        ({"short.json": b"x" * (MAX_BYTES + 1)}, "at most 5,242,880"),
        ({f"{number}.json": b"1" for number in range(21)}, "at most 20 samples"),
    ],
)
def test_bad_files_are_refused(
    client: Client, admin: Membership, sent: dict[str, bytes], message: str
) -> None:
    made = ready(admin)

    answer = client.post(f"{address(made)}samples/", {"samples": files(sent)})

    assert answer.status_code == 422
    assert message in answer.content.decode()


def test_files_of_all_samples_together_are_bounded(
    admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = ready(admin), ready(admin, version="2.0.0")
    store_files(other, {"short.json": b"{}"})
    with monkeypatch.context() as small:
        small.setattr(validator_samples, "MAX_ORGANISATION_BYTES", 11)
        with pytest.raises(ValidationError, match="12 bytes together; at most 11 are kept"):
            store_files(made, {"short.json": b"{}  "})

    with pytest.raises(ValidationError, match="at most 5,242,880 bytes together"):
        store_files(made, {"short.json": b"x" * (MAX_BYTES // 2 + 1)})
    assert not made.samples.exclude(content=None).exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_words = 10 }", "max_words = 0 }", "`samples.0.inputs`: max_words: "),
        ('file = "samples/short.json"', 'file = "a.xml"', "`samples.0.file`: 'a.xml' has none"),
        ('file = "samples/short.json"', 'file = ".."', "`samples.0.file`: The name '..' cannot"),
        ('file = "samples/short.json"', 'file = "a/short.json"', "two samples have different"),
        ('name = "forbidden"', 'name = "short"', "`samples.name` 'short' stands there twice"),
        ('title = "A short text"', 'title = ""', "`samples.0.title` has 0 characters"),
        ('title = "A short text"', r'title = "\u0000"', r"`samples\.0\.title` contains .* U\+0000"),
    ],
)
def test_bad_sample_of_a_manifest_is_refused(
    admin: Membership, old: str, new: str, message: str
) -> None:
    assert old in MANIFEST
    with pytest.raises(ValidationError, match=message):
        registered(admin.organisation, manifest=MANIFEST.replace(old, new, 1))
