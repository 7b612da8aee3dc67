"""`doctor`: look for what may be in the way, and say what mends it."""

import argparse
from dataclasses import asdict

from devenv.cli import checks
from devenv.cli.context import Context
from devenv.cli.output import Output

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def add(parser: argparse.ArgumentParser) -> None:
    """It takes nothing."""


def run(arguments: argparse.Namespace, context: Context) -> int:
    found = checks.every(context)
    lines = (_line(check, context.output) for check in found)
    context.output.result([asdict(check) for check in found], "\n".join(lines))
    return 1 if any(check.result == "fail" for check in found) else 0


def _line(check: checks.Check, output: Output) -> str:
    mark, colour = _MARKS[check.result]
    line = f"  {output.style(mark, colour)} {check.name:<13} {check.text}"
    return f"{line}\n    {'':<13} {output.style(check.fix, 'bold')}" if check.fix else line
