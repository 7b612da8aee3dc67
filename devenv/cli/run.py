"""`run` and `env`: the environment of the web service, for a command or to paste."""

import os
import shlex

from devenv.cli import compose, summary
from devenv.cli.context import Context
from devenv.stack.problems import StackError


def run(context: Context, *, command: list[str]) -> int:
    """Become `command` in the environment of the web service; return only if that fails."""
    if command[:1] == ["--"]:
        command = command[1:]
    if not any(command):
        context.output.fail("No command was given.", hint="make run CMD='python manage.py shell'")
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


def env(context: Context, *, role: str) -> int:
    """Print the variables of a service as lines for a shell."""
    if compose.find(context):
        raise StackError(
            "The stack runs in containers; its variables do not work outside them.",
            hint="make run CMD=env",
        )
    variables = context.running_product().variables(role)
    lines = (f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items()))
    context.output.result(variables, "\n".join(lines))
    return 0
