"""`manage.py seed_demo`."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count, Sum

from tests.factories import OrganisationFactory
from validibot.runs.models import Finding, Run, RunEvent, StepRun
from validibot.runs.rules import rules_found, summarise
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.models import Validator

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation(settings: Any, tmp_path: Path) -> Any:
    settings.DATA_ROOT = (tmp_path / "data").as_uri()
    sync_validators(settings.VALIDATORS_DIR)
    # Fewer workflows to import: containers and simulated models take longest.
    slow = ("energyplus", "fmu", "schematron", "shacl")
    Validator.objects.filter(slug__in=slow).update(is_active=False)
    return OrganisationFactory.create(slug="demo")


def seed(**options: Any) -> dict[str, Any]:
    output = StringIO()
    arguments = {"size": 60, "until": "2026-03-31", "json": True, **options}
    call_command(
        "seed_demo",
        *(
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in arguments.items()
        ),
        stdout=output,
    )
    return dict(json.loads(output.getvalue()))


def test_seed_makes_runs_that_agree_with_their_findings(organisation: Any) -> None:
    made = seed()

    assert made["runs"] == Run.objects.count() == 60
    assert made["findings"] == Finding.objects.count()
    assert 300 < made["findings"] < 900
    assert {run.result for run in Run.objects.all()} >= {"PASS", "FAIL"}
    for step in StepRun.objects.select_related("run"):
        assert rules_found(step) == summarise(step.findings.order_by("order"))
        has_errors = step.findings.filter(severity="ERROR").exists()
        assert has_errors == (step.status == "FAILED" and step.run.result == "FAIL")
    assert RunEvent.objects.count() == 120
    assert Run.objects.dates("created_at", "month").count() >= 11
    assert not Run.objects.filter(created_at__date__gt="2026-03-31").exists()


def test_seed_repeated_adds_only_runs_that_are_missing(organisation: Any) -> None:
    seed(size=20, findings=40)
    before = dict(Run.objects.values_list("pk", "created_at"))
    sums = Finding.objects.aggregate(Count("pk"), Sum("order"))

    assert seed(size=20, findings=40)["runs"] == 0
    assert Finding.objects.aggregate(Count("pk"), Sum("order")) == sums
    assert seed(size=30, findings=60)["runs"] == 10
    assert before.items() <= dict(Run.objects.values_list("pk", "created_at")).items()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "--size is 0; it must be from 1 to 10,000,000."),
        ({"findings": 6001}, "--findings is 6001; it must be from 0 to 6,000"),
        ({"until": "31.3."}, "'31.3.' is not a day such as 2026-01-31"),
        ({"organisation": "nobody"}, "There is no organisation 'nobody'."),
    ],
)
def test_unusable_argument_is_refused_by_name(
    organisation: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        seed(**options)


def test_production_is_not_seeded_unless_forced(organisation: Any, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True

    with pytest.raises(CommandError, match="This is a production deployment: 60 invented runs"):
        seed()
    assert seed(force=True)["runs"] == 60


def test_seed_without_validators_names_the_command() -> None:
    OrganisationFactory.create(slug="demo")

    with pytest.raises(CommandError, match="sync_validators"):
        seed()
