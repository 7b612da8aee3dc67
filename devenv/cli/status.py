"""`status`: what runs, where it is, how to sign in."""

from rich.console import Group

from devenv.cli import compose, summary
from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.services import urls


def run(context: Context) -> int:
    if project := compose.find(context):
        return compose.status(context, project)
    if not context.is_running():
        context.output.result({"phase": "stopped"}, "  stopped")
        context.output.fail("The developer environment does not run.", hint="make up")
        return 1
    state = context.state()
    product = context.product_of(state)
    facts, places = summary.facts(product, state), urls(product)
    rows = [
        (
            name,
            one.state,
            str(one.pid or ""),
            places.get(name, ""),
            f"{one.restarts} restarts" if one.restarts else "",
            one.note,
        )
        for name, one in state.services.items()
    ]
    services = table(rows) if rows else "  starting"
    context.output.result(facts, Group(services, summary.table_of(facts)))
    return 0
