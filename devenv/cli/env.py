"""`env`: the variables that a service has here, to paste into a shell or an editor."""

import argparse
import shlex

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.stack.problems import StackError


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", choices=("web", "worker"), default="web")


def run(arguments: argparse.Namespace, context: Context) -> int:
    if compose.find(context):
        raise StackError(
            "The stack runs in containers; its variables are of no use outside of them.",
            hint="make run CMD=env",
        )
    variables = context.running_product().variables(arguments.role)
    lines = (f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items()))
    context.output.result(variables, "\n".join(lines))
    return 0
