"""`doctor`: look for what may be in the way, and say what mends it."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from devenv.cli import checks
from devenv.cli.checks import Check
from devenv.cli.context import Context
from devenv.cli.output import Output

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def add(parser: argparse.ArgumentParser) -> None:
    """It takes nothing."""


def run(arguments: argparse.Namespace, context: Context) -> int:
    return report(checks.every(context), context.output)


def report(found: Sequence[Check], output: Output) -> int:
    """Print what was found; return 1 if anything is in the way."""
    output.result(
        [asdict(check) for check in found], "\n".join(line(check, output) for check in found)
    )
    return 1 if any(check.result == "fail" for check in found) else 0


def line(check: Check, output: Output) -> str:
    mark, colour = _MARKS[check.result]
    text = f"  {output.style(mark, colour)} {check.name:<13} {check.text}"
    return f"{text}\n    {'':<13} {output.style(check.fix, 'bold')}" if check.fix else text
