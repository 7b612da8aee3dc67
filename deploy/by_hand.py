"""Commands and tasks that `apply` leaves to a person."""

from collections.abc import Iterator

from deploy.layout import Layout
from deploy.resource import command


def commands_by_hand(layout: Layout) -> Iterator[str]:
    """Yield the lines that a person runs or reads once for a stage."""
    stage = layout.stage
    if not (stage.domain and stage.map_domain):
        return
    if layout.product.mapping:
        yield command(
            *("beta", "run", "domain-mappings", "describe"),
            *(f"--domain={stage.domain}", f"--region={stage.region}"),
            format="yaml(status.resourceRecords)",
        )
    else:
        yield (
            f"# {stage.region} has no domain mappings: put a load balancer in front of {stage.named('web')} "
            "(docs/production.md, Domain)"
        )
