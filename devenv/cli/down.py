"""`down`: stop what `up` started, and wait until it has stopped."""

import argparse
import signal
import time

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.stack import statefile
from devenv.stack.problems import StateUnreadable
from devenv.stack.process import send_signal

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
    """Ask the supervisor to stop; return whether it did. Raises StackError."""
    pid = _supervisor(context)
    send_signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    while context.is_running():
        if time.monotonic() > deadline:
            context.output.fail(f"Process {pid} does not stop.", hint=f"kill -9 {pid}")
            return False
        time.sleep(_PAUSE)
    context.output.success("Stopped; the data stays. make up brings everything back.")
    return True


def _supervisor(context: Context) -> int:
    """Return the process that holds the lock, if the state file names it too. Raises StackError."""
    holder = statefile.lock_holder(context.config.lock)
    hint = f"kill {holder}" if holder else "end the process `devenv up` yourself"
    try:
        pid = context.state().pid
    except StateUnreadable as error:
        raise StateUnreadable(f"{error.message} Nothing was stopped.", hint=hint) from error
    if pid <= 1:
        raise StateUnreadable(
            f"{context.config.state_file} names no supervisor. Nothing was stopped.", hint=hint
        )
    return pid
