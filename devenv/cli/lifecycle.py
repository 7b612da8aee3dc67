"""Commands on the running stack: `status`, `start`, `stop`, `restart`, `down`, `reset`."""

import shutil
import signal
import sys
import time
from pathlib import Path

import typer
from rich.console import Group

from devenv.cli import compose, snapshot, summary
from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.services import bridge, facts
from devenv.stack import statefile
from devenv.stack.control import connect
from devenv.stack.problems import StackError, StateUnreadable
from devenv.stack.process import send_signal
from devenv.stack.snapshot import SnapshotStore
from devenv.stack.statefile import StackState

_TIMEOUT = 40.0
_PAUSE = 0.05


def down(context: Context) -> int:
    """Stop what `up` started, and wait until it has stopped."""
    if context.is_running():
        return 0 if _stop(context) else 1
    if project := compose.find(context):
        return compose.down(context, project)
    context.output.say("  Nothing runs here.")
    context.output.result({"stopped": False}, "")
    return 0


def reset(context: Context, *, yes: bool, to: str) -> int:
    """Stop everything and delete its data, so that the next `up` begins anew, or with a snapshot."""
    folder, state = context.config.state, context.last_state()
    if not yes and not _confirmed(context, to=to):
        return 2
    if to:
        return snapshot.load(context, name=to, keep=False)
    if context.is_running() and not _stop(context):
        return 1
    compose.reset(context)
    if context.config.bridge_file.exists():
        bridge.clear(context.stack_of(state))
    kept = SnapshotStore(folder).names()
    if folder.exists():
        _delete(folder, keep="snapshots" if kept else "")
    context.output.success(
        "Database, files, mail, logs and secrets were deleted. `make up` starts from scratch."
    )
    if kept:
        context.output.say(f"  Snapshots stay: {', '.join(kept)}.")
    return 0


def _delete(folder: Path, *, keep: str) -> None:
    """Delete what is in a folder but `keep`, and without that the folder, too."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != keep:
            shutil.rmtree(path)
        elif path.name != keep:
            path.unlink()
    if not keep:
        folder.rmdir()


def _confirmed(context: Context, *, to: str) -> bool:
    if not sys.stdin.isatty():
        hint = f"devenv reset --to {to} --yes" if to else "make reset YES=1"
        context.output.fail("Standard input is not a terminal.", hint=hint)
        return False
    then = f" The snapshot {to} replaces them." if to else ""
    context.output.say(
        f"  This deletes the database and all files in {context.config.state}.{then}"
    )
    return typer.confirm("  Go on?", err=True)


def _stop(context: Context) -> bool:
    """Ask the supervisor to stop; return whether it did. Raises StackError."""
    pid = _supervisor(context)
    send_signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + _TIMEOUT
    with context.output.progress("Stopping"):
        while context.is_running():
            if time.monotonic() > deadline:
                context.output.fail(f"Process {pid} does not stop.", hint=f"kill -9 {pid}")
                return False
            time.sleep(_PAUSE)
    context.output.stopped()
    return True


def _supervisor(context: Context) -> int:
    """Return the process that holds the lock, if the state file names it. Raises StackError.

    A number from a damaged file is never signalled: 0 would be the caller's own process group.
    """
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


_DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


def control(context: Context, *, command: str, service: str) -> int:
    """Start, stop or restart a service; return when that is done."""
    if project := compose.find(context):
        compose.control(project, command, service)
        result: dict[str, object] = {"service": service}
    else:
        with (
            connect(running(context).control) as client,
            context.output.progress(f"{service}: {command}"),
        ):
            result = {"service": service, **client.ask(command, service=service)}
    context.output.success(f"{service} {_DONE[command]}.")
    context.output.result(result, "")
    return 0


def running(context: Context) -> StackState:
    """Return the state of the stack that runs as processes. Raises StackError if none does."""
    if not context.is_running():
        raise StackError("The developer environment does not run.", hint="make up")
    return context.state()


def status(context: Context) -> int:
    """Print what runs, where it is, and how to sign in."""
    if project := compose.find(context):
        return compose.status(context, project)
    if not context.is_running():
        context.output.result({"phase": "stopped"}, "  stopped")
        last = context.last_state()
        why = f" Its last start failed: {last.error}." if last.phase == "failed" else ""
        context.output.fail(f"The developer environment does not run.{why}", hint="make up")
        return 1
    state = context.state()
    stack = context.stack_of(state)
    found = facts.gather(context.config, stack, state)
    places = found["urls"]
    rows = [
        (
            name,
            one.state,
            str(one.pid or ""),
            places.get(name, ""),
            f"{one.restarts} restarts" if one.restarts else "",
            one.note,
        )
        for name, one in state.services.items()
    ]
    services = table(rows) if rows else "  starting"
    shown = summary.table_of(context.config, stack, found)
    context.output.result(found, Group(services, shown))
    return 0
