"""Seeded workflows without containers: each sample has the expected result."""

from pathlib import Path

import pytest

from validibot.engines import ENGINES, Document, get_engine
from validibot.engines.assertions import Rule, check_rule, evaluate
from validibot.setup.seeds import ROOT, Seed, SeedInvalid, SeedStep, read_seed, read_seeds

SEEDS = {seed.slug: seed for seed in read_seeds()}
BY_SLUG = {engine.manifest.slug: name for name, engine in ENGINES.items()}
IN_PROCESS = [
    slug for slug, seed in SEEDS.items() if all(step.validator in BY_SLUG for step in seed.steps)
]


def rules(step: SeedStep) -> list[Rule]:
    names = ("expression", "when", "severity", "message", "success_message", "path")
    return [
        Rule(**{name: getattr(assertion, name) for name in names}) for assertion in step.assertions
    ]


def errors(seed: Seed, sample: str) -> list[str]:
    """Run the first step on a sample; return the codes of its errors."""
    step = seed.steps[0]
    document = Document((ROOT / sample).read_bytes(), sample, "")
    result = get_engine(BY_SLUG[step.validator]).check(document, step.config)
    scope = {
        "payload": document.payload_or_none(),
        "c": {constant.name: constant.value for constant in seed.constants},
    }
    outcomes = evaluate(rules(step), scope)
    problems = [*result.problems, *(outcome.problem for outcome in outcomes if outcome.problem)]
    return [problem.code for problem in problems if problem.severity == "ERROR"]


def test_seeds_use_every_kind_of_validator() -> None:
    used = {step.validator for seed in SEEDS.values() for step in seed.steps}

    assert used == {validator.manifest.slug for validator in ENGINES.values()} - {"fmu-probe"} | {
        "energyplus",
        "fmu",
    }
    assert [len(seed.steps) for seed in SEEDS.values()].count(3) == 1


@pytest.mark.parametrize("slug", IN_PROCESS)
def test_passing_sample_passes(slug: str) -> None:
    assert errors(SEEDS[slug], SEEDS[slug].sample) == []


@pytest.mark.parametrize("slug", IN_PROCESS)
def test_failing_sample_has_several_errors(slug: str) -> None:
    found = errors(SEEDS[slug], SEEDS[slug].failing_sample)

    assert len(found) > 1
    assert "assertion.error" not in found


@pytest.mark.parametrize("slug", SEEDS)
def test_every_seeded_expression_compiles(slug: str) -> None:
    for step in SEEDS[slug].steps:
        for rule in rules(step):
            check_rule(rule)


def test_both_review_samples_pass_first_step() -> None:
    review = SEEDS["office-model-review"]

    assert errors(review, review.sample) == errors(review, review.failing_sample) == []


@pytest.mark.parametrize(("eui", "codes"), [(163.9, []), (373.1, ["assertion.failed"])])
def test_review_checks_simulation_against_targets(eui: float, codes: list[str]) -> None:
    review = SEEDS["office-model-review"]
    simulated = {"site_eui_kwh_m2": eui, "unmet_heating_hours": 0.0, "unmet_cooling_hours": 1.0}
    scope = {
        "payload": {},
        "steps": {"1": {}, "2": simulated},
        "c": {constant.name: constant.value for constant in review.constants},
    }
    outcomes = evaluate(rules(review.steps[2]), scope)

    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    assert [problem.code for problem in problems if problem.severity == "ERROR"] == codes


def test_invalid_seed_error_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('slug = 3\ncolour = "x"\n[[steps]]\nname = "x"\n')

    with pytest.raises(SeedInvalid, match=r"bad\.toml: `slug`.*`steps\.0\.validator`.*`colour`"):
        read_seed(path)
