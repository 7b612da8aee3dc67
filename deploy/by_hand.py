"""Commands for what `apply` does not do.

Budgets belong to the billing account, and domains need a proof of ownership.
"""

from collections.abc import Iterator

from deploy.layout import Layout
from deploy.resource import command


def commands_by_hand(layout: Layout) -> Iterator[str]:
    """Yield the gcloud lines that a person runs once for a stage."""
    stage = layout.stage
    if stage.domain:
        yield command(
            *("beta", "run", "domain-mappings", "create"),
            service=stage.named("web"),
            domain=stage.domain,
            region=stage.region,
        )
    if stage.budget:
        yield command(
            *("billing", "budgets", "create"),
            *("--threshold-rule=percent=0.5", "--threshold-rule=percent=1.0"),
            billing_account=stage.budget.account,
            display_name=stage.name,
            budget_amount=stage.budget.amount,
            filter_projects=f"projects/{stage.project}",
        )
