"""`snapshot`: the data of the whole stack by name, saved and loaded in seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.local_stack import LocalStack
from devenv.schema import PostgresService
from devenv.stack import control
from devenv.stack.edits import matching_files
from devenv.stack.problems import StackError
from devenv.stack.snapshot import BEFORE_LOAD, Snapshot, SnapshotStore, utc_now
from devenv.stack.statefile import Lock


def save(context: Context, *, name: str, replace: bool) -> int:
    """Save database, buckets, queues, mail and secrets."""
    if not context.config.secrets_file.exists():  # the first start makes it
        raise StackError("There is no data to save.", hint="make up")
    store, stack = _store(context), _stack(context)
    store.check_name(name, replace=replace)  # before the stack pauses for it
    with _quiet(context, "Saving"):
        made = store.save(name, mode=stack.mode, history=_history(stack), replace=replace)
    context.output.success(f"Saved {name} ({_megabytes(made)}).")
    context.output.result(asdict(made), "")
    return 0


def load(context: Context, *, name: str, keep: bool = True) -> int:
    """Replace the data of the stack by a snapshot's; a stack that runs has it after a restart."""
    store, stack = _store(context), _stack(context)
    found = store.get(name)
    _check(context, stack, found)
    before = _present(context, stack) if keep else None
    with _quiet(context, "Loading"):
        store.load(name, keep=before)
    undo = f" devenv snapshot load {BEFORE_LOAD} takes it back." if keep else ""
    context.output.success(f"Loaded {name}, of {found.created}.{undo}")
    context.output.result(asdict(found), "")
    return 0


def show(context: Context) -> int:
    """Print the snapshots of this folder."""
    store, found = _store(context), []
    for name in store.names():
        try:
            found.append(store.get(name))
        except StackError as error:
            context.output.warn(error.message)
    rows = [(one.name, one.created, _megabytes(one), one.mode) for one in found]
    context.output.result(
        [asdict(one) for one in found], table(rows) if rows else "  There are no snapshots."
    )
    return 0


def delete(context: Context, *, name: str) -> int:
    """Delete a snapshot."""
    _store(context).delete(name)
    context.output.success(f"Deleted {name}.")
    context.output.result({"deleted": name}, "")
    return 0


def _store(context: Context) -> SnapshotStore:
    return SnapshotStore(context.config.state)


def _stack(context: Context) -> LocalStack:
    """Return the stack whose data can be copied. Raises StackError if it lies elsewhere."""
    if compose.find(context):
        raise StackError(
            "The stack runs in containers, whose data is in a Docker volume: no snapshots there.",
            hint="make down && make up",
        )
    stack = context.stack_of(context.last_state())
    database = stack.config.services.get("postgres")
    if isinstance(database, PostgresService) and database.external:
        raise StackError(
            "The database is an external server; a snapshot would lack it.",
            hint="pg_dump, or remove `external` from [services.postgres]",
        )
    if stack.has_tunnel:
        raise StackError(
            "Buckets and queues are in Google's own cloud; a snapshot would lack them."
        )
    return stack


@contextmanager
def _quiet(context: Context, text: str) -> Iterator[None]:
    """Keep the stack from changing its data: pause the one that runs, keep others from starting.

    A pause ends when this process does, so the stack starts again whatever happens here.
    """
    with context.output.progress(text):
        if not context.is_running():
            context.config.make_state()
            with Lock(context.config.lock):
                yield
            return
        with control.connect(context.state().control) as client:
            client.ask("pause")
            try:
                yield
            finally:
                client.ask("resume")


def _history(stack: LocalStack) -> dict[str, list[str]]:
    """Return the files that steps have applied to the data, by step: those that they watch."""
    root = stack.folder.root
    return {
        name: sorted(str(path.relative_to(root)) for path in matching_files(root, service.watch))
        for name, service in stack.config.commands().items()
        if service.once and service.watch
    }


def _check(context: Context, stack: LocalStack, found: Snapshot) -> None:
    """Raise StackError if this code, or the stack that runs, cannot use the snapshot's data."""
    here = _history(stack)
    newer = [
        path
        for step, paths in found.history.items()
        for path in paths
        if path not in here.get(step, ())
    ]
    if newer:
        more = f" and {len(newer) - 1} more" if len(newer) > 1 else ""
        raise StackError(
            f"The snapshot {found.name} has newer migrations than this code: {newer[0]}{more}.",
            hint="switch to the code that has them, or save a new snapshot",
        )
    if context.is_running() and found.mode != stack.mode:
        raise StackError(
            f"The snapshot {found.name} is of the profile {found.mode}; {stack.mode} runs.",
            hint=f"make down && make up MODE={found.mode}",
        )


def _present(context: Context, stack: LocalStack) -> Snapshot:
    mode = context.last_state().mode
    return Snapshot(name=BEFORE_LOAD, created=utc_now(), mode=mode, history=_history(stack))


def _megabytes(snapshot: Snapshot) -> str:
    return f"{snapshot.size / 1e6:.0f} MB"
