"""What Cloud Run Jobs keeps: jobs, executions, tasks and operations, each under its full name."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from devenv.gcp.run_jobs.messages import Execution, Job, Operation, Pb, Task
from devenv.gcp.run_jobs.names import fixed_prefix, matches
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

    def below(self, parent: str) -> Iterator[Pb]:
        """Yield the records whose names are below `parent`; a part `-` of it is any."""
        for name, value in self._table.scan(fixed_prefix(parent)):
            if matches(name, parent):
                yield self._message.FromString(value)


class State:
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
