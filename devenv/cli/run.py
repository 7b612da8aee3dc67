"""`run`: a command of yours, in the environment and with the identity of the web service."""

import argparse
import os

from devenv.cli import compose, summary
from devenv.cli.context import Context


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")


def run(arguments: argparse.Namespace, context: Context) -> int:
    command = [part for index, part in enumerate(arguments.command) if index or part != "--"]
    if not any(command):
        context.output.fail("There is no command.", hint="make run CMD='python manage.py shell'")
        return 2
    if project := compose.find(context):
        return compose.run(context, project, command)
    product = context.running_product()
    environ = product.environ("web") | summary.client(summary.facts(product, context.state()))
    try:
        os.execvpe(command[0], command, environ)
    except OSError as error:
        context.output.fail(f"{command[0]}: {error.strerror}.")
        return 1
