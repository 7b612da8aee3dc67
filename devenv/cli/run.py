"""`run` and `env`: the environment of a service, for a command or to paste."""

import os
import shlex

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.local_stack import LocalStack
from devenv.services import declared, facts
from devenv.stack.problems import StackError


def run(context: Context, *, command: list[str]) -> int:
    """Become `command` in the environment of the service of `[run]`; return only if that fails."""
    if command[:1] == ["--"]:
        command = command[1:]
    if not any(command):
        context.output.fail("No command was given.", hint="make run CMD='python manage.py shell'")
        return 2
    if project := compose.find(context):
        return compose.run(context, project, command)
    stack, config = context.running_stack(), context.config
    more = facts.run_variables(config, stack, facts.gather(config, stack, context.state()))
    environ = declared.environ(stack, config.run.service or default_service(stack)) | more
    try:
        os.execvpe(command[0], command, environ)
    except OSError as error:
        context.output.fail(f"{command[0]}: {error.strerror}.")
        return 1


def default_service(stack: LocalStack) -> str:
    """Return the first service of devenv.toml. Raises StackError if there is none."""
    for name in stack.config.commands():
        return name
    raise StackError("devenv.toml has no service with a command.", hint="edit devenv.toml")


def env(context: Context, *, service: str) -> int:
    """Print the variables of a service as lines for a shell."""
    if compose.find(context):
        raise StackError(
            "The stack runs in containers; its variables do not work outside them.",
            hint="make run CMD=env",
        )
    stack = context.running_stack()
    service = service or context.config.run.service or default_service(stack)
    variables = declared.variables(stack, service)
    lines = (f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items()))
    context.output.result(variables, "\n".join(lines))
    return 0
