"""The stored records of Cloud Run Jobs, and the writes that keep them consistent.

Jobs, executions, tasks and operations are kept under their full names. `ExecutionStore` writes an execution together
with its tasks, the operations that stand for it and the reference in its job, in one transaction.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from google.rpc.status_pb2 import Status

from devenv.gcp.run_jobs.life import completion_status, is_done
from devenv.gcp.run_jobs.resources import (
    Execution,
    Job,
    Operation,
    Pb,
    Task,
    fixed_prefix,
    matches,
    operation_of,
)
from devenv.gcp.store import Store, Table


class Records:
    """Messages of one type, kept by their `name`."""

    def __init__(self, table: Table, message: Pb) -> None:
        self._table = table
        self._message = message

    def put(self, record: Pb) -> None:
        self._table.put(record.name, record.SerializeToString())

    def get(self, name: str) -> Pb | None:
        value = self._table.get(name)
        return None if value is None else self._message.FromString(value)

    def delete(self, name: str) -> bool:
        return self._table.delete(name)

    def mentioning(self, text: str) -> Iterator[Pb]:
        """Yield the records in whose stored form a text occurs."""
        for _, value in self._table.scan():
            if text.encode() in value:
                yield self._message.FromString(value)

    def below(self, parent: str) -> Iterator[Pb]:
        """Yield the records whose names are below `parent`; a part `-` of it is any."""
        for name, value in self._table.scan(fixed_prefix(parent)):
            if matches(name, parent):
                yield self._message.FromString(value)


class RunJobsState:
    """All of it, in the store that the emulated cloud shares."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.jobs = Records(store.table("run_jobs"), Job)
        self.executions = Records(store.table("run_executions"), Execution)
        self.tasks = Records(store.table("run_tasks"), Task)
        self.operations = Records(store.table("run_operations"), Operation)
        self.declared = store.table("run_declared_jobs")

    def transaction(self) -> AbstractContextManager[None]:
        return self._store.transaction()


RUN, CANCEL, DELETE = "run", "cancel", "delete"


class ExecutionStore:
    """Keeps what belongs together consistent: each call is one transaction."""

    def __init__(self, state: RunJobsState) -> None:
        self._state = state

    def open(self, execution: Pb, tasks: list[Pb], job: Pb) -> None:
        """Write a new execution and let its job point at it."""
        job.execution_count += 1
        reference = job.latest_created_execution
        reference.Clear()
        reference.name = _short(execution)
        reference.create_time.CopyFrom(execution.create_time)
        reference.completion_status = completion_status(execution)
        with self._state.transaction():
            self._state.jobs.put(job)
            for task in tasks:
                self._state.tasks.put(task)
            self._write(execution, None)

    def save(self, execution: Pb, *tasks: Pb, error: Status | None = None) -> None:
        """Write changes; `error` is what the operation says of an execution that failed."""
        with self._state.transaction():
            for task in tasks:
                self._state.tasks.put(task)
            self._write(execution, error)
            if execution.HasField("start_time") or is_done(execution):
                self._tell_job(execution)

    def remove(self, execution: Pb) -> None:
        """Delete an execution at a user's wish; its operations stay and tell of it."""
        operation = describe(execution, DELETE)
        operation.done = True
        operation.response.Pack(execution)
        with self._state.transaction():
            self._drop(execution)
            self._state.operations.put(operation)

    def forget(self, execution: Pb) -> None:
        """Delete an execution that is too old, and what stood for it."""
        with self._state.transaction():
            self._drop(execution)
            for verb in _verbs(execution):
                self._state.operations.delete(describe(execution, verb).name)

    def _drop(self, execution: Pb) -> None:
        for task in list(self._state.tasks.below(execution.name)):
            self._state.tasks.delete(task.name)
        self._state.executions.delete(execution.name)

    def _write(self, execution: Pb, error: Status | None) -> None:
        self._state.executions.put(execution)
        for verb in _verbs(execution):
            operation = describe(execution, verb)
            operation.done = is_done(execution) and verb != DELETE
            if operation.done and error is not None and verb == RUN:
                operation.error.CopyFrom(error)
            elif operation.done:
                operation.response.Pack(execution)
            self._state.operations.put(operation)

    def _tell_job(self, execution: Pb) -> None:
        job = self._state.jobs.get(execution.name.rsplit("/", 2)[0])
        if job is None or job.latest_created_execution.name != _short(execution):
            return
        reference = job.latest_created_execution
        status = completion_status(execution)
        if reference.completion_status == status:
            return
        reference.completion_status = status
        if is_done(execution):
            reference.completion_time.CopyFrom(execution.completion_time)
        self._state.jobs.put(job)


def describe(execution: Pb, verb: str) -> Pb:
    """Return the unfinished operation that does `verb` to an execution.

    Its metadata is the execution from the first answer on: clients read the name there.
    """
    location = execution.name.split("/jobs/", 1)[0]
    operation = Operation(name=operation_of(execution.uid, verb, location))
    operation.metadata.Pack(execution)
    return operation


def _verbs(execution: Pb) -> list[str]:
    verbs = [RUN]
    if execution.generation > 1:
        verbs.append(CANCEL)
    if execution.HasField("delete_time"):
        verbs.append(DELETE)
    return verbs


def _short(execution: Pb) -> str:
    return str(execution.name.rsplit("/", 1)[-1])
