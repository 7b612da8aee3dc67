"""Pages of the editor: create, edit, two editors at once, steps, trials, versions and templates."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.factories import StepFactory
from tests.unit.validibot.web.editor.conftest import step_form
from validibot.accounts.models import Membership, WorkflowGrant
from validibot.web.editor import versions
from validibot.workflows import editing
from validibot.workflows.document import MAX_SAMPLES
from validibot.workflows.models import Sample, Step, Workflow
from validibot.workflows.versions import freeze, newest

NO_CONSTANTS = {"constants-TOTAL_FORMS": "0", "constants-INITIAL_FORMS": "0"}


def settings_form(workflow: Workflow, **changes: Any) -> dict[str, Any]:
    token = editing.token_of(newest(workflow))
    return {"token": token, "name": workflow.name, "slug": workflow.slug, **NO_CONSTANTS, **changes}


def test_new_workflow_gets_slug_from_its_name(client: Client, org: str) -> None:
    answer = client.post(f"{org}/new-workflow/", {"name": "Meter Readings"})

    made = Workflow.objects.get()
    assert answer.headers["Location"] == f"{org}/workflows/meter-readings/steps/"
    assert (made.slug, made.version) == ("meter-readings", 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 151}, "at most 150 characters"),
        ({"name": "Check"}, "There is a workflow &#x27;check&#x27; already"),
        ({"name": "日本"}, "Type a slug"),
        ({"name": "A", "slug": "a b"}, "valid “slug”"),
        ({"name": "A", "description": "a\0b"}, "Null characters are not allowed"),
        ({"name": "A", "project": "1"}, "not one of the available choices"),
        ({"name": "A", "accepted_types": "../x"}, "must look like"),
    ],
)
def test_bad_workflow_is_refused_at_its_field(
    client: Client, org: str, workflow: Workflow, fields: dict[str, str], words: str
) -> None:
    answer = client.post(f"{org}/new-workflow/", fields)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert Workflow.objects.get() == workflow


def test_edit_of_used_workflow_makes_the_next_version(
    client: Client, base: str, workflow: Workflow
) -> None:
    freeze(workflow)
    constants = {
        "constants-TOTAL_FORMS": "1",
        "constants-0-name": "most",
        "constants-0-data_type": "NUMBER",
        "constants-0-value": "1.5",
    }

    page = client.get(f"{base}/edit/").content.decode()
    answer = client.post(f"{base}/edit/", settings_form(workflow, **constants), follow=True)

    assert "becomes the next version" in page
    assert "Your edit was saved as version 2." in answer.content.decode()
    assert newest(workflow).constants == [{"name": "most", "data_type": "NUMBER", "value": 1.5}]
    assert Workflow.objects.get(version=1).constants == []


def test_second_editor_is_told_and_loses_nothing(
    client: Client, base: str, workflow: Workflow
) -> None:
    mine = settings_form(workflow, description="Mine")
    client.post(f"{base}/edit/", settings_form(workflow, description="Theirs"))

    answer = client.post(f"{base}/edit/", mine)
    page = answer.content.decode()

    assert answer.status_code == 409
    assert "Nothing you typed is lost" in page
    assert "Mine" in page
    assert newest(workflow).description == "Theirs"
    again = mine | {"token": editing.token_of(newest(workflow))}
    assert again["token"] in page
    client.post(f"{base}/edit/", again)
    assert newest(workflow).description == "Mine"


def test_edit_of_a_state_before_a_new_version_is_stale(
    client: Client, base: str, workflow: Workflow
) -> None:
    mine = settings_form(workflow, description="Mine")
    freeze(workflow)
    client.post(f"{base}/edit/", settings_form(workflow, description="Theirs"))

    assert client.post(f"{base}/edit/", mine).status_code == 409


def test_renamed_workflow_keeps_its_guests(
    client: Client, base: str, workflow: Workflow, author: Membership
) -> None:
    grant = WorkflowGrant.objects.create(
        organisation=author.organisation, user=author.user, workflow="check"
    )

    client.post(f"{base}/edit/", settings_form(workflow, slug="other"))

    grant.refresh_from_db()
    assert (newest(Workflow.objects.get()).slug, grant.workflow) == ("other", "other")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("NUMBER", "x"),
        ("NUMBER", "true"),
        ("NUMBER", "NaN"),
        ("BOOLEAN", "2"),
        ("LIST", "{}"),
        ("OBJECT", "[" * 9999),
    ],
)
def test_constant_of_wrong_type_is_refused(
    client: Client, base: str, workflow: Workflow, kind: str, value: str
) -> None:
    row = {"constants-TOTAL_FORMS": "1", "constants-0-name": "a", "constants-0-data_type": kind}

    answer = client.post(
        f"{base}/edit/", settings_form(workflow, **row, **{"constants-0-value": value})
    )

    assert answer.status_code == 422
    assert "is no value of this type" in answer.content.decode()


def test_archived_workflow_is_listed_apart_and_restored(
    client: Client, org: str, base: str, workflow: Workflow
) -> None:
    client.post(f"{base}/archive/", {"action": "archive"})

    assert "/workflows/check/" not in client.get(f"{org}/workflows/").content.decode()
    assert "/workflows/check/" in client.get(f"{org}/workflows/?archived=1").content.decode()
    client.post(f"{base}/archive/", {"action": "restore"})
    assert "/workflows/check/" in client.get(f"{org}/workflows/").content.decode()


def test_only_workflow_without_runs_is_deleted(
    client: Client, base: str, workflow: Workflow
) -> None:
    client.post(f"{base}/delete/", {"confirmation": "other"})
    assert Workflow.objects.exists()
    freeze(workflow)
    page = client.post(f"{base}/delete/", {"confirmation": "check"}, follow=True)
    assert "Archive it instead" in page.content.decode()
    Workflow.objects.update(frozen_at=None)
    client.post(f"{base}/delete/", {"confirmation": "check"})
    assert not Workflow.objects.exists()


def test_clone_is_a_workflow_of_its_own(client: Client, base: str, step: Step) -> None:
    for _ in range(2):
        client.post(f"{base}/clone/")

    copies = Workflow.objects.filter(slug__startswith="check-copy")
    assert {each.slug for each in copies} == {"check-copy", "check-copy-2"}
    assert copies[0].steps.get().config == step.config


def test_comparison_of_long_versions_is_cut(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MAX_COMPARED", 20)
    old, new = step.workflow, Workflow.objects.get(pk=step.workflow.pk)
    old.description = "same\n" * 100 + "old\n" * 100
    new.description = "same\n" * 100 + "new\n" * 100

    kinds = [kind for kind, _ in versions.difference(old, new)]

    assert 0 < kinds.count("added") == kinds.count("removed") <= 20
    assert kinds[-1] == "place"
    assert list(versions.difference(old, old)) == []


def test_versions_are_compared_and_launched(client: Client, base: str, step: Step) -> None:
    freeze(step.workflow)
    client.post(f"{base}/steps/1/", step_form(step, name="Shape"))

    listed = client.get(f"{base}/versions/").content.decode()
    compared = client.get(f"{base}/versions/compare/?old=1&new=2").content.decode()
    old = client.get(f"{base}/versions/1/").content.decode()

    assert "Version 2" in listed
    assert '<code class="removed">-- name: Form' in compared
    assert '<code class="added">+- name: Shape' in compared
    assert "version 1" in old


@pytest.mark.parametrize("query", ["?old=", "?old=1&new=9", "?old=a&new=1", "?old=²&new=1"])
def test_comparison_of_unknown_versions_is_not_found(
    client: Client, base: str, step: Step, query: str
) -> None:
    assert client.get(f"{base}/versions/compare/{query}").status_code == 404


def test_export_is_imported_again(client: Client, org: str, base: str, step: Step) -> None:
    text = client.get(f"{base}/versions/1/text/").content
    bundle = client.get(f"{base}/versions/1/bundle/").content
    other = text.replace(b"slug: check", b"slug: other").decode()

    pasted = client.post(f"{org}/import-workflow/", {"text": other})
    updated = client.post(
        f"{org}/import-workflow/",
        {"file": SimpleUploadedFile("check.zip", bundle), "update": "on"},
    )

    assert pasted.headers["Location"].endswith("/workflows/other/steps/")
    assert updated.headers["Location"].endswith("/workflows/check/steps/")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({}, "Choose a file or paste its text"),
        ({"text": "a: ["}, "Line 2: This is not YAML"),
        ({"file": b"PK\x03\x04nothing"}, "The zip file cannot be read"),
        ({"file": b"a" * 10_000_000}, "at most 8388608 of YAML"),
        ({"file": b""}, "The submitted file is empty"),
    ],
)
def test_bad_import_is_explained(
    client: Client, org: str, sent: dict[str, Any], words: str
) -> None:
    if "file" in sent:
        sent["file"] = SimpleUploadedFile("a.yaml", sent["file"])

    answer = client.post(f"{org}/import-workflow/", sent)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Workflow.objects.exists()


def test_other_organisations_workflow_is_not_found(client: Client, org: str) -> None:
    foreign = StepFactory.create().workflow

    for path in ("edit/", "steps/", "steps/1/", "versions/", "versions/1/text/"):
        assert client.get(f"{org}/workflows/{foreign.slug}/{path}").status_code == 404


def test_sample_is_added_run_and_deleted(client: Client, org: str, step: Step) -> None:
    step.workflow.input_schema = '{"type": "object", "properties": {"a": {"type": "integer"}}}'
    step.workflow.save()
    base = f"{org}/workflows/check/samples/"

    def add(name: str, **fields: str) -> Any:
        file = SimpleUploadedFile(name, b"{}")
        return client.post(base, {"file": file, "passes": "fail", **fields})

    assert add("a.json", title="Empty", **{"input-a": "1"}).status_code == 302
    sample = Sample.objects.get()
    shown = client.get(base).content.decode()
    assert (sample.passes, sample.metadata, "should fail" in shown) == (False, {"a": "1"}, True)
    for refused in (add("a.json"), add(".hidden"), add("b.json", **{"input-a": "x"})):
        assert refused.status_code == 422
    Sample.objects.bulk_create(
        Sample(workflow=step.workflow, filename=f"{each}", content=b"{}", passes=True)
        for each in range(MAX_SAMPLES)
    )
    assert "at most 20 samples" in add("b.json").content.decode()

    client.post(f"{base}{sample.pk}/delete/")
    assert not Sample.objects.filter(pk=sample.pk).exists()
