"""`status`: what runs, where it is, how to get in."""

import argparse

from devenv.cli import compose, summary
from devenv.cli.context import Context
from devenv.cli.output import columns


def add(parser: argparse.ArgumentParser) -> None:
    """It takes nothing."""


def run(arguments: argparse.Namespace, context: Context) -> int:
    if project := compose.find(context):
        return compose.status(context, project)
    state = context.state()
    if not context.is_running():
        context.output.result({"phase": "stopped"}, "  stopped")
        context.output.fail("The developer environment does not run.", hint="make up")
        return 1
    product = context.product_of(state)
    facts = summary.facts(product, state)
    rows = [
        (name, one.state, str(one.pid or ""), f"{one.restarts} restarts" if one.restarts else "")
        for name, one in state.services.items()
    ]
    services = columns(rows) if rows else "  starting"
    context.output.result(facts, f"{services}\n{summary.table(facts, context.output)}")
    return 0
