"""Ways into the running stack: `run`, `shell`, `psql`, `env`, and its pages in the browser."""

import os
import re
import shlex
import shutil
import webbrowser
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.environment import login_shell, machine
from devenv.local_stack import LocalStack
from devenv.services import builtin, declared, facts, urls
from devenv.stack.problems import StackError, UsageProblem


def run(context: Context, *, command: list[str], service: str, account: str) -> int:
    """Become `command` in the environment of a service; return only if that fails."""
    if command[:1] == ["--"]:
        command = command[1:]
    if not any(command):
        context.output.fail("No command was given.", hint="make run CMD='python manage.py shell'")
        return 2
    if project := compose.find(context):
        if service or account:
            raise StackError(
                "The stack runs in containers; there `run` has no --service and no --as.",
                hint="docker compose exec SERVICE COMMAND",
            )
        return compose.run(context, project, command)
    return _become(context, command, _environ(context, service, account))


def shell(context: Context, *, service: str, account: str) -> int:
    """Become the user's shell in the environment of a service."""
    if project := compose.find(context):
        return compose.run(context, project, ["bash"])
    environ = _environ(context, service, account)
    context.output.say("  A shell with the environment of the stack; `exit` leaves it.")
    return _become(context, [login_shell()], environ)


def psql(context: Context, *, arguments: list[str]) -> int:
    """Become psql on the database of the stack."""
    if project := compose.find(context):
        return compose.psql(context, project, arguments)
    stack = context.running_stack()
    if "postgres" not in stack.config.services:
        raise StackError("This stack has no database: devenv.toml has no [services.postgres].")
    own = builtin.postgres_binaries() / "psql"
    program = str(own) if own.exists() else shutil.which("psql")
    if program is None:
        raise StackError("psql is not installed.", hint="apt install postgresql-client")
    return _become(context, [program, *arguments], machine() | _libpq(stack.postgres_url))


def env(context: Context, *, service: str, style: str) -> int:
    """Print the variables of a service."""
    if compose.find(context):
        raise StackError(
            "The stack runs in containers; its variables do not work outside them.",
            hint="make run CMD=env",
        )
    stack = context.running_stack()
    variables = declared.variables(stack, _service(context, stack, service))
    context.output.result(variables, formatted(variables, style))
    return 0


def formatted(variables: Mapping[str, str], style: str) -> str:
    """Return variables as lines for a shell, or for a `.env` file."""
    if style == "dotenv":
        lines = (f"{name}={_dotenv(value)}" for name, value in sorted(variables.items()))
    else:
        lines = (f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items()))
    return "\n".join(lines)


def _dotenv(value: str) -> str:
    """Quote a value as python-dotenv, Docker Compose and direnv read it."""
    if re.fullmatch(r"[\w@%+:,./-]*", value, re.ASCII):
        return value
    if "'" not in value and "\n" not in value and "\\" not in value:
        return f"'{value}'"
    escaped = re.sub(r'([\\"$])', r"\\\1", value).replace("\n", "\\n")
    return f'"{escaped}"'


def _environ(context: Context, service: str, account: str) -> dict[str, str]:
    """Return the environment of a service and of `[run]`, as the identity of another account."""
    stack, config = context.running_stack(), context.config
    name = _service(context, stack, service)
    more = facts.run_variables(config, stack, facts.gather(config, stack, context.state()))
    environ = declared.environ(stack, name) | more
    return environ | _identity(stack, account) if account else environ


def _identity(stack: LocalStack, account: str) -> dict[str, str]:
    if not stack.has_cloud:
        raise StackError(
            f"--as {account} needs the emulated cloud; the profile {stack.mode} has none.",
            hint="make down && make up",
        )
    return stack.identity(account)


def _service(context: Context, stack: LocalStack, name: str) -> str:
    """Return the given service, that of `[run]`, or the first one. Raises StackError."""
    name = name or context.config.run.service or next(iter(stack.config.commands()), "")
    if not name:
        raise StackError("devenv.toml has no service with a command.", hint="edit devenv.toml")
    return name


def _libpq(url: str) -> dict[str, str]:
    """Return a database as libpq's variables: other users see arguments of commands."""
    parts = urlsplit(url)
    values = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port or 5432),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
        "PGDATABASE": parts.path.strip("/"),
    }
    return {name: unquote(value) for name, value in values.items() if value}


def _become(context: Context, command: list[str], environ: Mapping[str, str]) -> int:
    try:
        os.execvpe(command[0], command, environ)
    except OSError as error:
        context.output.fail(f"{command[0]}: {error.strerror}.")
        return 1


def open_page(context: Context, *, page: str) -> int:
    """Print the URL of a service and open it. Raises StackError."""
    if project := compose.find(context):
        _, found = compose.look(context, project)
        places = found["urls"]
    else:
        places = urls(context.running_stack())
    pages = {name: url for name, url in places.items() if url.startswith(("http://", "https://"))}
    if page not in pages:
        raise UsageProblem(
            f"{page!r:.60} has no page in this stack; there are {', '.join(pages)}.",
            hint="devenv open " + next(iter(pages), "web"),
        )
    context.output.result({"page": page, "url": pages[page]}, pages[page])
    if not webbrowser.open(pages[page]):
        raise StackError("There is no browser here.", hint=f"open {pages[page]} yourself")
    return 0
