"""Workflows of the gallery without containers: each sample has the expected result."""

import pytest

from tests.language_model import StandInModel
from validibot.engines import ENGINES, Document, get_engine
from validibot.engines.assertions import Rule, check_rule, evaluate
from validibot.workflows.document import StepSection
from validibot.workflows.gallery import WorkflowTemplate, all_templates

TEMPLATES = {template.slug: template for template in all_templates()}
BY_SLUG = {engine.manifest.slug: name for name, engine in ENGINES.items()}
IN_PROCESS = [slug for slug, each in TEMPLATES.items() if set(each.validators) <= BY_SLUG.keys()]
REVIEW = TEMPLATES["office-model-review"]


def rules(step: StepSection) -> list[Rule]:
    names = ("expression", "when", "severity", "message", "success_message", "path")
    return [
        Rule(**{name: getattr(assertion, name) for name in names}) for assertion in step.assertions
    ]


def errors(template: WorkflowTemplate, *, passes: bool) -> list[str]:
    """Run the first step on a sample; return the codes of its errors."""
    step, sample = template.read.file.steps[0], template.sample(passes=passes)
    document = Document(sample.read_bytes(), sample.name, "", model=StandInModel())
    result = get_engine(BY_SLUG[step.validator]).check(document, step.config)
    scope = {
        "payload": document.payload_or_none(),
        "c": {constant.name: constant.value for constant in template.read.file.constants},
    }
    outcomes = evaluate(rules(step), scope)
    problems = [*result.problems, *(outcome.problem for outcome in outcomes if outcome.problem)]
    return [problem.code for problem in problems if problem.severity == "ERROR"]


def test_templates_use_every_kind_of_validator() -> None:
    used = {slug for template in TEMPLATES.values() for slug in template.validators}

    assert used == BY_SLUG.keys() - {"fmu-probe"} | {"energyplus", "fmu", "schematron", "shacl"}
    assert [len(template.validators) for template in TEMPLATES.values()].count(3) == 1


def test_slug_of_each_template_is_its_folder() -> None:
    assert [template.read.file.slug for template in TEMPLATES.values()] == list(TEMPLATES)


@pytest.mark.parametrize("slug", IN_PROCESS)
def test_passing_sample_passes(slug: str) -> None:
    assert errors(TEMPLATES[slug], passes=True) == []


@pytest.mark.parametrize("slug", IN_PROCESS)
def test_failing_sample_has_several_errors(slug: str) -> None:
    found = errors(TEMPLATES[slug], passes=False)

    assert len(found) > 1
    assert "assertion.error" not in found


@pytest.mark.parametrize("slug", TEMPLATES)
def test_every_expression_of_template_compiles(slug: str) -> None:
    for step in TEMPLATES[slug].read.file.steps:
        for rule in rules(step):
            check_rule(rule)


def test_both_review_samples_pass_first_step() -> None:
    assert errors(REVIEW, passes=True) == errors(REVIEW, passes=False) == []


@pytest.mark.parametrize(("eui", "codes"), [(163.9, []), (373.1, ["assertion.failed"])])
def test_review_checks_simulation_against_targets(eui: float, codes: list[str]) -> None:
    file = REVIEW.read.file
    simulated = {"site_eui_kwh_m2": eui, "unmet_heating_hours": 0.0, "unmet_cooling_hours": 1.0}
    scope = {
        "payload": {},
        "steps": {"1": {}, "2": simulated},
        "c": {constant.name: constant.value for constant in file.constants},
    }
    outcomes = evaluate(rules(file.steps[2]), scope)

    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    assert [problem.code for problem in problems if problem.severity == "ERROR"] == codes
