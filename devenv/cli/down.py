"""`down`: stop what `up` started, and wait until it has stopped."""

import argparse
import os
import signal
import time
from contextlib import suppress

from devenv.cli import compose
from devenv.cli.context import Context

_PATIENCE = 40.0
_PAUSE = 0.05


def add(parser: argparse.ArgumentParser) -> None:
    """It takes nothing."""


def run(arguments: argparse.Namespace, context: Context) -> int:
    if not context.is_running():
        if project := compose.find(context):
            return compose.down(context, project)
        context.output.say("  Nothing runs here.")
        context.output.result({"stopped": False}, "")
        return 0
    return 0 if stop(context) else 1


def stop(context: Context) -> bool:
    """Ask the supervisor to stop; say whether it did."""
    pid = context.state().pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    while context.is_running():
        if time.monotonic() > deadline:
            context.output.fail(f"Process {pid} does not stop.", hint=f"kill -9 {pid}")
            return False
        time.sleep(_PAUSE)
    context.output.success("Stopped; the data stays. make up brings everything back.")
    return True
