"""google.cloud.run.v2.Executions and .Tasks: what has run, what runs, and how to end it."""

from devenv.gcp.caller import Call, Guard
from devenv.gcp.rpc import Rpc
from devenv.gcp.run_jobs import messages as of
from devenv.gcp.run_jobs.executions import Executions
from devenv.gcp.run_jobs.lists import by_index, newest_first, pick
from devenv.gcp.run_jobs.messages import Pb
from devenv.gcp.run_jobs.names import Name, Names
from devenv.gcp.run_jobs.rest import EXECUTIONS, TASKS
from devenv.gcp.run_jobs.state import State


class ExecutionsApi:
    """Executions and their tasks, read and ended."""

    def __init__(self, state: State, executions: Executions, *, names: Names, guard: Guard) -> None:
        self._state = state
        self._executions = executions
        self._names = names
        self._guard = guard

    def rpcs(self) -> tuple[Rpc, ...]:
        executions = (
            ("GetExecution", of.GetExecutionRequest, of.Execution, self.get),
            ("ListExecutions", of.ListExecutionsRequest, of.ListExecutionsResponse, self.list),
            ("DeleteExecution", of.DeleteExecutionRequest, of.Operation, self.delete),
            ("CancelExecution", of.CancelExecutionRequest, of.Operation, self.cancel),
        )
        tasks = (
            ("GetTask", of.GetTaskRequest, of.Task, self.get_task),
            ("ListTasks", of.ListTasksRequest, of.ListTasksResponse, self.list_tasks),
        )
        package = "google.cloud.run.v2"
        return tuple(
            Rpc(f"{package}.{service}/{name}", request, response, handle, (bindings[name],))
            for service, methods, bindings in (
                ("Executions", executions, EXECUTIONS),
                ("Tasks", tasks, TASKS),
            )
            for name, request, response, handle in methods
        )

    async def get(self, request: Pb, call: Call) -> Pb:
        return self._find(request.name, call, "run.executions.get")

    async def list(self, request: Pb, call: Call) -> Pb:
        parent = self._names.read("JOB", request.parent, wild=True)
        self._guard.require(call.caller, "run.executions.list", parent.full)
        self._check_job(parent)
        found = self._state.executions.below(f"{parent.full}/executions")
        records, token = pick(found, request, key=newest_first)
        return of.ListExecutionsResponse(executions=records, next_page_token=token)

    async def delete(self, request: Pb, call: Call) -> Pb:
        """End and delete an execution. The etag is not looked at, and neither is it by Google."""
        execution = self._find(request.name, call, "run.executions.delete")
        if request.validate_only:
            return of.Operation(done=True)
        return self._executions.delete(execution)

    async def cancel(self, request: Pb, call: Call) -> Pb:
        execution = self._find(request.name, call, "run.executions.cancel")
        if request.validate_only:
            return of.Operation(done=True)
        return self._executions.cancel(execution)

    async def get_task(self, request: Pb, call: Call) -> Pb:
        name = self._names.read("TASK", request.name)
        self._guard.require(call.caller, "run.tasks.get", name.full)
        if (task := self._state.tasks.get(name.full)) is None:
            raise name.missing()
        return task

    async def list_tasks(self, request: Pb, call: Call) -> Pb:
        parent = self._names.read("EXECUTION", request.parent, wild=True)
        self._guard.require(call.caller, "run.tasks.list", parent.full)
        if "-" not in parent.full.split("/") and not self._state.executions.get(parent.full):
            raise parent.missing()
        found = self._state.tasks.below(f"{parent.full}/tasks")
        records, token = pick(found, request, key=by_index)
        return of.ListTasksResponse(tasks=records, next_page_token=token)

    def _find(self, text: str, call: Call, permission: str) -> Pb:
        name = self._names.read("EXECUTION", text)
        self._guard.require(call.caller, permission, name.full)
        if (execution := self._state.executions.get(name.full)) is None:
            raise name.missing()
        return execution

    def _check_job(self, name: Name) -> None:
        if name.short != "-" and self._state.jobs.get(name.full) is None:
            raise name.missing()
