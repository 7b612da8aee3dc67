"""Evidence of runs: written once, read afterwards."""

from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.evidence.manifest import EvidenceManifest

from tests.factories import (
    ArtifactFactory,
    AttemptFactory,
    FindingFactory,
    StepFactory,
    StepRunFactory,
    ValidatorFactory,
)
from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import Organisation
from validibot.runs.evidence import record_evidence
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Run, RunEvidence, StepRun, digest_of
from validibot.workflows.models import Workflow

DIGEST = f"sha256:{'5' * 64}"


@pytest.fixture
def run(acme: Organisation) -> Run:
    """A run of a container step, launched twice, and of an in-process step that was not reached."""
    first = StepFactory.create(
        workflow__organisation=acme, validator=ValidatorFactory.create(container=True, slug="fmu")
    )
    step_run = StepRunFactory.create(
        run__workflow=first.workflow, run__status="RUNNING", step=first, status="RUNNING"
    )
    second = StepFactory.create(workflow=first.workflow, order=2)
    StepRunFactory.create(run=step_run.run, step=second)
    made: Run = step_run.run
    return made


def execute(run: Run) -> None:
    step_run = StepRun.objects.get(run=run, order=1)
    image = step_run.step.validator.image
    for number, digest in ((1, ""), (2, DIGEST)):
        AttemptFactory.create(
            step_run=step_run, number=number, state="FAILED", image=image, image_digest=digest
        )
    StepRun.objects.filter(pk=step_run.pk).update(status="FAILED")
    StepRun.objects.filter(run=run, order=2).update(status="SKIPPED")
    Run.objects.filter(pk=run.pk).update(status="FAILED", ended_at=timezone.now())


def read(api: Api, run: Run, what: str = "") -> Any:
    return api.get(f"orgs/acme/runs/{run.pk}/{what}")


def test_step_names_the_image_that_ran_it(alice: Api, run: Run) -> None:
    execute(run)

    first, second = read(alice, run).json()["steps"]

    assert (first["image"], first["image_digest"]) == ("validibot/validator-fmu:0.1.0", DIGEST)
    assert (second["image"], second["image_digest"]) == ("", "")


def test_evidence_is_published_manifest(alice: Api, run: Run) -> None:
    execute(run)

    answer = read(alice, run, "evidence/")

    manifest = EvidenceManifest.model_validate(answer.json())
    assert answer.headers["ETag"] == f'"{sha256_hex_for_model(manifest)}"'
    assert manifest.run_id == str(run.pk)
    assert manifest.status == "FAILED"
    assert manifest.input_sha256 == run.submission.sha256
    steps = [
        (s.key, s.status, s.validator, s.backend_image_digest) for s in manifest.workflow.steps
    ]
    skipped = StepRun.objects.get(run=run, order=2).validator
    assert steps == [("1", "FAILED", "fmu", DIGEST), ("2", "SKIPPED", skipped, None)]


def test_contents_are_listed_with_their_digest(alice: Api, run: Run) -> None:
    step_run = run.steps.get(order=1)
    FindingFactory.create(step_run=step_run, message="Too warm.")
    artifact = ArtifactFactory.create(step_run=step_run)
    execute(run)

    answer = read(alice, run, "evidence/contents/").json()

    assert answer["sha256"] == digest_of(answer["contents"])
    step = answer["contents"]["steps"][0]
    assert (step["name"], step["validator"]) == (step_run.name, "fmu")
    assert step["config_sha256"] == step_run.config_digest
    assert step["findings"]["count"] == 1
    assert step["artifacts"] == [
        {"name": artifact.name, "size_bytes": artifact.size_bytes, "sha256": artifact.sha256}
    ]


def test_evidence_is_not_changed_by_later_edits(alice: Api, run: Run) -> None:
    execute(run)
    record_evidence(run)
    before = read(alice, run, "evidence/contents/").json()

    StepRun.objects.filter(run=run).update(status="PASSED", validator="other")
    Workflow.objects.filter(pk=run.workflow_id).update(name="Other", version=9)
    record_evidence(run)

    assert read(alice, run, "evidence/contents/").json() == before


def test_evidence_row_cannot_be_saved_again(run: Run) -> None:
    execute(run)
    record_evidence(run)

    with pytest.raises(ValueError, match="written once"):
        RunEvidence.objects.get(run=run).save()


def test_cancelled_run_has_evidence(run: Run) -> None:
    assert cancel_run(run.pk, actor="alice")

    assert RunEvidence.objects.get(run=run).manifest["status"] == "CANCELED"


def test_evidence_of_unfinished_run_is_refused(alice: Api, run: Run) -> None:
    answer = read(alice, run, "evidence/")

    assert (answer.status_code, answer.json()["code"]) == (409, "RUN_NOT_FINISHED")


def test_evidence_is_hidden_from_other_organisations(charlie: Api, run: Run) -> None:
    execute(run)

    assert read(charlie, run, "evidence/").status_code == 404


def test_evidence_is_written_in_two_queries(
    run: Run, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    execute(run)

    with django_assert_num_queries(2):
        record_evidence(run)
