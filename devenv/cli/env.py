"""`env`: the variables that a service has here, to paste into a shell or an editor."""

import argparse
import shlex

from devenv.cli.context import Context


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", choices=("web", "worker"), default="web")


def run(arguments: argparse.Namespace, context: Context) -> int:
    variables = context.running_product().variables(arguments.role)
    lines = (f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items()))
    context.output.result(variables, "\n".join(lines))
    return 0
