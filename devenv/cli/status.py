"""`status`: what runs, where it is, how to sign in."""

from rich.console import Group

from devenv.cli import compose, summary
from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.services import facts


def run(context: Context) -> int:
    if project := compose.find(context):
        return compose.status(context, project)
    if not context.is_running():
        context.output.result({"phase": "stopped"}, "  stopped")
        context.output.fail("The developer environment does not run.", hint="make up")
        return 1
    state = context.state()
    stack = context.stack_of(state)
    found = facts.gather(context.config, stack, state)
    places = found["urls"]
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
    shown = summary.table_of(context.config, stack, found)
    context.output.result(found, Group(services, shown))
    return 0
