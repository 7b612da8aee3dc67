"""Operations of Cloud SQL: one at a time on each instance, carried out beside the call.

A client has to wait for the end of an operation, as with Google.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import Aborted, CloudError, Internal
from devenv.gcp.messages import set_moment
from devenv.gcp.store import Store, write_at_last

sqladmin = client_types("google.cloud.sqladmin_v1")

Operation: Any = sqladmin.Operation.pb()
Work: TypeAlias = Callable[[], Awaitable[None]]

_TYPES = Operation.DESCRIPTOR.fields_by_name["operation_type"].enum_type
CLONE = int(_TYPES.values_by_name["CLONE"].number)
_PENDING, _RUNNING, _DONE = 1, 2, 3
_KEPT = 1000  # newest operations
_LINK = "https://sqladmin.googleapis.com/sql/v1beta4"
log = logging.getLogger(__name__)


class SqlOperations:
    """The operations of a project."""

    def __init__(self, project: str, store: Store, clock: Clock) -> None:
        self._project = project
        self._table = store.table("sql_operations")
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, resumed: Callable[[Any], Work]) -> None:
        """Carry on with what the last stop interrupted, by the work that `resumed` returns."""
        for operation in self.all():
            if operation.status != _DONE:
                self._carry_out(operation, resumed(operation))

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def check_idle(self, instance: str) -> None:
        """Raise Aborted if an operation on an instance is in progress."""
        if any(each.status != _DONE for each in self.all() if each.target_id == instance):
            raise Aborted(
                "Operation failed because another operation was already in progress. Try your "
                "request after the current operation is complete."
            )

    def begin(
        self, call: ApiCall | None, kind: str, instance: str, work: Work, context: Any = None
    ) -> Any:
        """Begin an operation of a type; return it as it is now.

        Without a call it is the service's own. `context` is an operation with what it is about.
        """
        operation = Operation(
            kind="sql#operation",
            name=str(uuid.uuid4()),
            operation_type=_TYPES.values_by_name[kind].number,
            status=_PENDING,
            target_id=instance,
            target_project=self._project,
            target_link=f"{_LINK}/projects/{self._project}/instances/{instance}",
            user=call.caller.email if call else "",
        )
        operation.MergeFrom(context or Operation())
        operation.self_link = f"{_LINK}/projects/{self._project}/operations/{operation.name}"
        set_moment(operation.insert_time, self._clock.now())
        self._put(operation)
        self._forget_old()
        self._carry_out(operation, work)
        return operation

    def get(self, name: str) -> Any | None:
        value = self._table.get(name)
        return None if value is None else Operation.FromString(value)

    def all(self) -> Iterator[Any]:
        """Yield the operations, newest first."""
        found = [Operation.FromString(value) for _, value in self._table.scan()]
        yield from sorted(found, key=lambda each: -each.insert_time.ToMicroseconds())

    def _carry_out(self, operation: Any, work: Work) -> None:
        mine = Operation()
        mine.CopyFrom(operation)
        task = asyncio.ensure_future(self._run(mine, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, operation: Any, work: Work) -> None:
        if self.get(operation.name) is None:
            return  # the transaction in which it began was rolled back
        operation.status = _RUNNING
        set_moment(operation.start_time, self._clock.now())
        what = f"An operation on {operation.target_id}"
        await write_at_last(what, lambda: self._put(operation), self._clock)
        try:
            await work()
        except CloudError as error:
            log.warning("An operation on %s failed: %s", operation.target_id, error)
            _fail(operation, error)
        except Exception:
            # Without an end it would refuse every other operation on its instance.
            log.exception("An operation on %s failed", operation.target_id)
            _fail(operation, Internal("The operation failed; the log of the emulator tells why."))
        operation.status = _DONE
        set_moment(operation.end_time, self._clock.now())
        await write_at_last(what, lambda: self._put(operation), self._clock)

    def _put(self, operation: Any) -> None:
        self._table.put(operation.name, operation.SerializeToString())

    def _forget_old(self) -> None:
        for operation in list(self.all())[_KEPT:]:
            self._table.delete(operation.name)


def _fail(operation: Any, error: CloudError) -> None:
    operation.error.kind = "sql#operationErrors"
    operation.error.errors.add(kind="sql#operationError", code=error.status, message=error.message)
