"""google.longrunning.Operations for Cloud Run."""

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from devenv.gcp.caller import Call, Guard
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.messages import seconds
from devenv.gcp.rpc import Rpc
from devenv.gcp.run_jobs.executions import Executions
from devenv.gcp.run_jobs.lists import by_name, pick
from devenv.gcp.run_jobs.messages import Operation, Pb
from devenv.gcp.run_jobs.names import Name, Names
from devenv.gcp.run_jobs.rest import OPERATIONS
from devenv.gcp.run_jobs.state import State

LONGEST_WAIT = 3600.0


class Operations:
    """Answers what clients ask of operations while they wait for them."""

    def __init__(self, state: State, executions: Executions, *, names: Names, guard: Guard) -> None:
        self._state = state
        self._executions = executions
        self._names = names
        self._guard = guard

    def rpcs(self) -> tuple[Rpc, ...]:
        of = operations_pb2
        methods = (
            ("GetOperation", of.GetOperationRequest, Operation, self.get),
            ("ListOperations", of.ListOperationsRequest, of.ListOperationsResponse, self.list),
            ("DeleteOperation", of.DeleteOperationRequest, Empty, self.delete),
            ("WaitOperation", of.WaitOperationRequest, Operation, self.wait),
        )
        return tuple(
            Rpc(
                f"google.longrunning.Operations/{name}",
                request,
                response,
                handle,
                (OPERATIONS[name],),
            )
            for name, request, response, handle in methods
        )

    async def get(self, request: Pb, call: Call) -> Pb:
        return self._find(request.name, call, "run.operations.get")[1]

    async def list(self, request: Pb, call: Call) -> Pb:
        parent = self._names.read("LOCATION", request.name).full
        self._guard.require(call.caller, "run.operations.list", parent)
        if request.filter:
            raise InvalidArgument("Operations cannot be filtered.")
        found = self._state.operations.below(f"{parent}/operations")
        operations, token = pick(found, request, key=by_name)
        return operations_pb2.ListOperationsResponse(operations=operations, next_page_token=token)

    async def delete(self, request: Pb, call: Call) -> Pb:
        name, _ = self._find(request.name, call, "run.operations.delete")
        self._state.operations.delete(name.full)
        return Empty()

    async def wait(self, request: Pb, call: Call) -> Pb:
        """Answer when the operation is done, or after the request's timeout, with what is known."""
        _, operation = self._find(request.name, call, "run.operations.get")
        if not operation.done:
            given = seconds(request.timeout) if request.HasField("timeout") else LONGEST_WAIT
            within = min(max(given, 0.0), LONGEST_WAIT)
            await self._executions.settled(operation, within=within)
        return self._state.operations.get(operation.name) or operation

    def _find(self, text: str, call: Call, permission: str) -> tuple[Name, Pb]:
        name = self._names.read("OPERATION", text)
        self._guard.require(call.caller, permission, name.full)
        if (operation := self._state.operations.get(name.full)) is None:
            raise name.missing()
        return name, operation
