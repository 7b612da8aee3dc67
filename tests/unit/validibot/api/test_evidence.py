"""What is attested of a run: its steps, and the images that ran them."""

from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from validibot_shared.evidence.manifest import EvidenceManifest

from tests.factories import AttemptFactory, StepFactory, StepRunFactory, ValidatorFactory
from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import Organisation
from validibot.runs.models import Run, StepRun

DIGEST = f"sha256:{'5' * 64}"


@pytest.fixture
def run(acme: Organisation) -> Run:
    """A run of a container step, launched twice, and of a light step that was not reached."""
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


def test_a_step_says_which_image_ran_it(alice: Api, run: Run) -> None:
    execute(run)

    first, second = read(alice, run).json()["steps"]

    assert (first["image"], first["image_digest"]) == ("validibot/validator-fmu:0.1.0", DIGEST)
    assert (second["image"], second["image_digest"]) == ("", "")


def test_the_evidence_is_a_published_manifest(alice: Api, run: Run) -> None:
    execute(run)

    answer = read(alice, run, "evidence/").json()

    manifest = EvidenceManifest.model_validate(answer)
    assert manifest.run_id == str(run.pk)
    assert manifest.status == "FAILED"
    assert manifest.input_sha256 == run.submission.sha256
    steps = [
        (s.key, s.status, s.validator, s.backend_image_digest) for s in manifest.workflow.steps
    ]
    light = StepRun.objects.get(run=run, order=2).step.validator.slug
    assert steps == [("1", "FAILED", "fmu", DIGEST), ("2", "SKIPPED", light, None)]


def test_of_a_run_that_has_not_ended_nothing_is_attested(alice: Api, run: Run) -> None:
    answer = read(alice, run, "evidence/")

    assert (answer.status_code, answer.json()["code"]) == (409, "RUN_NOT_FINISHED")


def test_a_stranger_gets_no_evidence(charlie: Api, run: Run) -> None:
    execute(run)

    assert read(charlie, run, "evidence/").status_code == 404


def test_evidence_takes_a_fixed_number_of_queries(
    alice: Api, run: Run, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    execute(run)

    with django_assert_max_num_queries(8):
        read(alice, run, "evidence/")
