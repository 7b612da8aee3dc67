"""The command line: `python -m devenv COMMAND`, one module per command."""

import argparse
import sys
from pathlib import Path
from types import ModuleType

from devenv import config
from devenv.cli import doctor, down, env, logs, reset, run, status, trace, tunnel, up
from devenv.cli.context import Context
from devenv.cli.output import Output
from devenv.environment import wants_colour
from devenv.gcp.config import ConfigError
from devenv.stack.problems import StackError

_COMMANDS: dict[str, tuple[ModuleType, str]] = {
    "up": (up, "start everything"),
    "down": (down, "stop it; the data stays"),
    "status": (status, "what runs, and where"),
    "logs": (logs, "what the services write"),
    "env": (env, "the variables that a service has"),
    "run": (run, "run a command in the environment of the web service"),
    "reset": (reset, "stop, and delete all data"),
    "trace": (trace, "what happened to a run; or its callback once more"),
    "tunnel": (tunnel, "where Google's own cloud calls this laptop"),
    "doctor": (doctor, "look for what may be in the way"),
}


def main(argv: list[str]) -> int:
    """Run one command; return its exit code: 0 well, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    arguments = _parser().parse_args(argv)
    output = Output(
        out=sys.stdout,
        err=sys.stderr,
        json=arguments.json,
        colour=wants_colour(terminal=sys.stderr.isatty() and sys.stdout.isatty()),
    )
    try:
        return _run(arguments, output)
    except ConfigError as error:
        output.fail(str(error), hint=f"mend {config.FILE}")
        return 2
    except StackError as error:
        output.fail(error.message, hint=error.hint)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _run(arguments: argparse.Namespace, output: Output) -> int:
    context = Context(config=config.load(Path.cwd()), output=output)
    code: int = _COMMANDS[arguments.name][0].run(arguments, context)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devenv", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, (module, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        module.add(command)
    return parser
