"""Commands for what `apply` does not do.

Budgets belong to the billing account, domains need a proof of ownership, and the peering of a network
with Google's services belongs to whoever owns the network.
"""

from collections.abc import Iterator

from deploy.layout import Layout
from deploy.resource import command


def commands_by_hand(layout: Layout) -> Iterator[str]:
    """Yield the gcloud lines that a person runs once for a stage."""
    stage = layout.stage
    if stage.database and stage.database.network:
        yield from peering(stage.database.network)
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


def peering(network: str) -> Iterator[str]:
    """Yield the lines that give Google's services private addresses in a network, before `apply`.

    See https://cloud.google.com/sql/docs/postgres/configure-private-services-access.
    """
    addresses = f"google-managed-services-{network}"
    yield command(
        "services", "enable", "compute.googleapis.com", "servicenetworking.googleapis.com"
    )
    yield command(
        *("compute", "addresses", "create", addresses, "--global"),
        purpose="VPC_PEERING",
        prefix_length=16,
        network=network,
    )
    yield command(
        *("services", "vpc-peerings", "connect"),
        service="servicenetworking.googleapis.com",
        ranges=addresses,
        network=network,
    )
