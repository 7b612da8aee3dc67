"""Execution of a command by its own module, and the exit codes of what goes wrong there."""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from devenv.environment import wants_colour

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def make_output(*, json: bool = False) -> Any:
    """Return the printer of a command."""
    from devenv.cli.output import CliOutput, has_make  # noqa: PLC0415 - rich; --help needs none

    colour = wants_colour(terminal=sys.stderr.isatty() and sys.stdout.isatty())
    make = has_make(project_folder())
    return CliOutput(out=sys.stdout, err=sys.stderr, json=json, colour=colour, make=make)


def project_folder() -> Path:
    """Return the nearest folder with a devenv.toml, from this one upwards; this one if there is none."""
    from devenv.config import FILE  # noqa: PLC0415 - pydantic; --help needs none

    here = Path.cwd()
    return next((one for one in (here, *here.parents) if (one / FILE).exists()), here)


def run_module(
    module: str, *, json: bool, function: str = "run", lenient: bool = False, **options: Any
) -> int:
    """Run `function` of `devenv.cli.<module>`; report the errors that users can act on.

    A `lenient` command works in a folder whose devenv.toml is invalid, too.
    """
    from devenv.cli.context import Context  # noqa: PLC0415 - as above
    from devenv.config import FILE, Config, load  # noqa: PLC0415 - as above
    from devenv.gcp.tables import ConfigError  # noqa: PLC0415 - as above
    from devenv.stack.problems import StackError, UsageProblem  # noqa: PLC0415 - as above

    root = project_folder()
    output = make_output(json=json)
    there = (root / FILE).exists()
    try:
        try:
            config = load(root)
            names = (name for stack in config.stacks.values() for name in stack.services)
            wide = replace(output, width=max([output.width, *map(len, names)]))
            context = Context(config=config, output=wide)
        except ConfigError as error:
            if not (lenient and there):
                raise
            output.warn(str(error))
            context = Context(config=Config(root=root), output=output)
        code: int = getattr(import_module(f"devenv.cli.{module}"), function)(context, **options)
    except ConfigError as error:
        output.fail(str(error), hint=f"edit {FILE}" if there else "devenv init")
        return 2
    except StackError as error:
        output.fail(error.message, hint=error.hint)
        return 2 if isinstance(error, UsageProblem) else 1
    return code
