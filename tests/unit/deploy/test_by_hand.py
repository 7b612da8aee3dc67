"""Commands that `apply` leaves to a person."""

from pathlib import Path

from deploy.by_hand import commands_by_hand
from deploy.cli import layout_of
from deploy.stage import STAGES


def test_domain_and_budget_are_named_with_their_commands(tmp_path: Path) -> None:
    table = '[budget]\naccount = "01AB23-456789-CDEF01"\namount = "500AUD"\n'
    (tmp_path / "prod.toml").write_text((STAGES / "prod.toml").read_text() + table)

    domain, budget = commands_by_hand(layout_of(str(tmp_path / "prod.toml")))

    assert domain == (
        "gcloud beta run domain-mappings create --service=prod-web --domain=validibot.example "
        "--region=australia-southeast1"
    )
    assert budget == (
        "gcloud billing budgets create --threshold-rule=percent=0.5 --threshold-rule=percent=1.0 "
        "--billing-account=01AB23-456789-CDEF01 --display-name=prod --budget-amount=500AUD "
        "--filter-projects=projects/validibot-prod"
    )


def test_stage_without_domain_and_budget_leaves_nothing() -> None:
    assert list(commands_by_hand(layout_of("dev"))) == []
