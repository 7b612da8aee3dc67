"""Commands and tasks that `apply` leaves to a person."""

from collections.abc import Iterator

from deploy.layout import Layout
from deploy.resource import command
from deploy.resources.domain_mapping import REGIONS


def commands_by_hand(layout: Layout) -> Iterator[str]:
    """Yield the lines that a person runs or reads once for a stage."""
    stage = layout.stage
    if not stage.domain:
        return
    if layout.product.mapping:
        yield command(
            *("beta", "run", "domain-mappings", "describe"),
            *(f"--domain={stage.domain}", f"--region={stage.region}"),
            format="yaml(status.resourceRecords)",
        )
    elif stage.region not in REGIONS:
        yield (
            f"# {stage.region} has no domain mappings: put a load balancer in front of {stage.named('web')} "
            "(docs/production.md, Domain)"
        )
